"""The extractor whose features an evaluation compares: choosing, saving and restoring it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from safetensors.torch import save_file
from torch import Tensor

from ..core.codec import Codec
from ..core.config import replacing, write_json
from ..core.errors import UserError
from ..core.extractor import Extractor
from ..core.files import guard
from ..core.judge import Advance, Judge, pretrained_names
from ..core.modality import modalities, modality
from ..core.records import Name, Record, read_record
from ..core.weights import load_tensors
from ..latents import embeddings
from ..pipeline import Pipeline, load
from .default_judge import DefaultJudge, judge_of

OWN = "own"  # the modality's default, which needs no download
MODEL = "model"  # the embeddings of the model that is judged
_SETTINGS, _TENSORS = "extractor.json", "extractor.safetensors"
_REMOVE = "remove the folder"


class ExtractorRecord(Record):
    """`extractor.json`: what an extractor is, and which items it was fitted to."""

    modality: Name
    name: Name
    settings: dict[str, Any]
    trained_on: str = ""


@final
class ModelEmbedding(Extractor[Any]):
    """The embeddings of a generative model: latents of an autoencoder, or hidden states.

    A model looks better in its own embeddings than it is: to compare two models, take one of them for both.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.modality = pipeline, pipeline.modality
        self.name = f"model-{pipeline.hash[:8]}"

    def features(self, items: Any) -> Tensor:
        return embeddings(self.pipeline, items)


def open_extractor(name: str | Path, weights: str | Path | None, *, pipeline: Pipeline) -> Extractor[Any]:
    """Return the extractor of a name, the one in a folder, or the embeddings of the model in a folder.

    Raises UserError on an unknown name, missing weights, and an extractor of another modality.
    """
    own = modality(pipeline.modality)
    names = _pretrained_names()
    if name == MODEL:
        extractor: Extractor[Any] = ModelEmbedding(pipeline)
    elif (Path(name) / _SETTINGS).exists():
        extractor = restore(Path(name))
    elif (Path(name) / "config.json").exists():
        extractor = ModelEmbedding(load(name))
    elif str(name) in names:
        if names[str(name)] != own.name:
            raise UserError(f"the extractor {name} reads {names[str(name)]}, and the model makes {own.name}")
        extractor = judge_of(own).open_pretrained(str(name), weights)
    else:
        known = ", ".join((OWN, MODEL, *names))
        raise UserError(
            f"'{name}' is no extractor; expected {known}, the folder evaluation/extractor of another model, or a model"
        )
    if extractor.modality != own.name:
        raise UserError(f"the extractor {extractor.name} reads {extractor.modality}, and the model makes {own.name}")
    return extractor


def fit_or_restore(
    judge: Judge[Any],
    *,
    pipeline: Pipeline,
    folder: Path | None,
    blocks: Iterator[Any],
    labels: list[str] | None,
    codec: Codec[Any],
    trained_on: str = "",
    advance: Advance | None = None,
) -> Extractor[Any]:
    """Return the modality's default extractor, fitted to `blocks`, whose digest is `trained_on`, and saved in `folder`.

    One that is in the folder and was fitted to the same items is restored, so that figures compare.
    """
    if (saved := saved_extractor(pipeline, folder, trained_on)) is not None:
        return restore(saved)
    extractor = judge.fit_extractor(blocks, labels, codec=codec, seed=0, advance=advance)
    if folder is not None and not isinstance(judge, DefaultJudge):
        save(extractor, folder, trained_on)
    return extractor


def check_weights_flag(name: str | Path | None, weights: str | Path | None) -> None:
    """Raise UserError where weights are given without a pretrained extractor."""
    if weights is not None and not is_pretrained(name):
        names = "|".join(_pretrained_names())
        raise UserError(f"--extractor-weights belongs to a pretrained extractor; name it: --extractor {names}")


def is_pretrained(name: str | Path | None) -> bool:
    """Return whether this is the name of an extractor with published weights."""
    return str(name) in _pretrained_names()


def _pretrained_names() -> dict[str, str]:
    """Return the name of every pretrained extractor, with that of the modality whose items it reads."""
    return pretrained_names({other.name: other.judge() for other in modalities().values()})


def saved_extractor(pipeline: Pipeline, folder: Path | None, trained_on: str) -> Path | None:
    """Return the folder with the default extractor, this one or the model's, if it was fitted to those items.

    An empty `trained_on` accepts any.
    """
    for place in (folder, pipeline.folder / "evaluation" / "extractor" if pipeline.folder else None):
        if place is not None and (place / _SETTINGS).exists() and trained_on in ("", training_digest(place)):
            return place
    return None


def training_digest(folder: Path) -> str | None:
    """Return the digest of the items that a saved extractor was fitted to."""
    file = folder / _SETTINGS
    return read_record(file, ExtractorRecord, _REMOVE).trained_on if file.exists() else None


def save(extractor: Extractor[Any], folder: Path, trained_on: str = "") -> None:
    """Write `extractor.json` and, where there are tensors, `extractor.safetensors`."""
    settings, tensors = extractor.state()
    folder.mkdir(parents=True, exist_ok=True)
    if tensors:
        with replacing(folder / _TENSORS) as temporary:
            save_file({name: value.contiguous() for name, value in tensors.items()}, temporary)
    record = {"modality": extractor.modality, "name": extractor.name, "settings": settings}
    write_json(folder / _SETTINGS, record | {"trained_on": trained_on})


def restore(folder: Path) -> Extractor[Any]:
    """Return what `save` wrote. Raises UserError where it is damaged, or not what its name says."""
    record = read_record(folder / _SETTINGS, ExtractorRecord, _REMOVE)
    with guard(f"the extractor in {folder}", "cannot be read", _REMOVE):
        tensors = load_tensors(folder / _TENSORS, _REMOVE)
        extractor = judge_of(modality(record.modality)).restore_extractor(record.settings, tensors)
    if extractor.name != record.name:
        raise UserError(f"the extractor in {folder} is {extractor.name}, not {record.name}; remove the folder")
    return extractor
