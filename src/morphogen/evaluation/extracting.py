"""Which extractor an evaluation reads features by, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..core import plugins
from ..core.codec import Codec
from ..core.config import read_json, replacing, write_json
from ..core.errors import UserError
from ..core.extractor import Extractor
from ..pipeline import Pipeline, load
from .extractors.of_model import OfModel
from .extractors.opening import NAMES, open_pretrained

OWN = "own"  # the modality's default, which needs no download
MODEL = "model"  # what the model that is judged has learned


def chosen(
    name: str | Path | None,
    weights: str | Path | None,
    *,
    pipeline: Pipeline,
    kept: Path | None,
    blocks: Iterator[Any],
    labels: list[str] | None,
    codec: Codec[Any],
    seed: int,
    trained_on: str = "",
) -> Extractor[Any]:
    """The extractor of that name, or in that folder; or that of another model's folder, its embeddings.

    The default is trained on `blocks`, whose digest is `trained_on`, and kept in `kept`. One that is kept and was
    trained on these is used again, so that figures compare. Raises UserError on a name that nobody knows, weights that
    are not there, and an extractor of another modality.
    """
    modality = pipeline.modality
    if weights is not None and str(name) not in NAMES:
        raise UserError(
            f"--extractor-weights belongs to a pretrained extractor; name it: --extractor {'|'.join(NAMES)}"
        )
    if name in (None, OWN):
        if (folder := kept_before(pipeline, kept, trained_on)) is not None:
            found = restored(folder)
        else:
            found = plugins.load("modalities", modality, "features").own(blocks, labels, codec=codec, seed=seed)
            if kept is not None:
                save(found, kept, trained_on)
    elif name == MODEL:
        found = OfModel(pipeline)
    elif (Path(name) / "extractor.json").exists():
        found = restored(Path(name))
    elif (Path(name) / "config.json").exists():
        found = OfModel(load(name))
    elif str(name) in NAMES:
        if NAMES[str(name)] != modality:
            raise UserError(f"the extractor {name} reads {NAMES[str(name)]}, and the model makes {modality}")
        found = open_pretrained(str(name), weights)
    else:
        known = ", ".join((OWN, MODEL, *NAMES))
        raise UserError(
            f"'{name}' is no extractor; expected {known}, the folder evaluation/extractor of another model, or a model"
        )
    if found.modality != modality:
        raise UserError(f"the extractor {found.name} reads {found.modality}, and the model makes {modality}")
    return found


def kept_before(pipeline: Pipeline, kept: Path | None, trained_on: str) -> Path | None:
    """Where the default extractor is kept, of this folder or the model's, if it was trained on those; "": on any."""
    for folder in (kept, pipeline.folder / "evaluation" / "extractor" if pipeline.folder else None):
        there = folder is not None and (folder / "extractor.json").exists()
        if folder is not None and there and trained_on in ("", seen_by(folder)):
            return folder
    return None


def seen_by(folder: Path) -> str | None:
    """The digest of the items that an extractor was trained on."""
    file = folder / "extractor.json"
    return read_json(file).get("trained_on") if file.exists() else None


def save(extractor: Extractor[Any], folder: Path, trained_on: str = "") -> None:
    """Write `extractor.json` and, where there are tensors, `extractor.safetensors`."""
    settings, tensors = extractor.state()
    folder.mkdir(parents=True, exist_ok=True)
    if tensors:
        with replacing(folder / "extractor.safetensors") as temporary:
            save_file({name: value.contiguous() for name, value in tensors.items()}, temporary)
    record = {"modality": extractor.modality, "name": extractor.name, "settings": settings}
    record["trained_on"] = trained_on
    write_json(folder / "extractor.json", record)


def restored(folder: Path) -> Extractor[Any]:
    """What `save` wrote. Raises UserError where it is damaged, or not what its name says."""
    record = read_json(folder / "extractor.json")
    file = folder / "extractor.safetensors"
    try:
        tensors = load_file(file) if file.exists() else {}
        found = plugins.load("modalities", record["modality"], "features").restored(record["settings"], tensors)
    except (SafetensorError, LookupError, AttributeError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise UserError(f"the extractor in {folder} cannot be read ({error}); remove the folder") from None
    if found.name != record["name"]:
        raise UserError(f"the extractor in {folder} is {found.name}, and not {record['name']}; remove the folder")
    return found
