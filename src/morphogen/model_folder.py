"""Read model folders: artifacts, codecs and conditions as `Artifact.save` wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .artifact import FORMAT, Artifact
from .core import plugins
from .core.codec import Codec
from .core.condition import LabelCodec
from .core.config import build, read_json
from .core.errors import UserError
from .core.modality import modality as modality_named
from .core.model import GenerativeModel
from .core.space import space_from_json
from .latent_codec import LatentCodec
from .nn.nd import place


def load_artifact(folder: Path | str, device: str | None = None) -> Artifact:
    """Return the artifact in a model folder, on the GPU where there is one.

    Raises UserError where it is no model folder, or one that is unfinished, damaged or of another format.
    """
    folder = Path(folder)
    config = _read_config(folder)
    try:
        space = space_from_json(config["space"])
        model_class = plugins.model_for(config["family"], type(space))
        codec = load_codec(config["modality"], folder / "codec", device)
        conditions = {
            name: load_codec(config["modality"], folder / "conditions" / name) for name in config["conditions"]
        }
        spaces = {name: space_from_json(value) for name, value in config["conditions"].items()}
        model = model_class(space, spaces, build(model_class.Options, config["options"], "options"))
        precision, source = config["precision"], config["source"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
        raise UserError(f"{folder / 'config.json'} {what}; restore the folder or fit again") from None
    if codec.space != space:
        raise UserError(
            f"the codec in {folder / 'codec'} is not that of this model: it maps to {codec.space}, and not to "
            f"{space}; restore the folder or fit again"
        )
    _load_weights(model, folder / "model.safetensors")
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
    place(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    artifact = Artifact(
        family=config["family"],
        modality=config["modality"],
        model=model,
        codec=codec,
        conditions=conditions,
        precision=precision,
        source=source,
        metrics=metrics,
        option_names=config["options"],
    )
    artifact.folder = folder
    return artifact


def _read_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of a model folder. Raises UserError where it is no folder of this format."""
    if not folder.is_dir():
        raise UserError(f"there is no model folder '{folder}'")
    if not (folder / "config.json").exists() and (folder / "training").is_dir():
        raise UserError(f"the fit in '{folder}' has not finished; continue it with --resume")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("format"), int):
        raise UserError(f"{folder / 'config.json'} has no format version; expected a morphogen model folder")
    if config["format"] != FORMAT:
        written = f"{folder} was written in format {config['format']} by morphogen {config.get('morphogen')}"
        what_to_do = "pip install -U morphogen" if config["format"] > FORMAT else "fit again"
        raise UserError(f"{written}; this one reads format {FORMAT}: {what_to_do}")
    return config


def load_codec(modality: str, folder: Path, device: str | None = None) -> Codec[Any]:
    """Return the codec in a folder: of class names, an autoencoder that lies in it, or the modality's own."""
    config = read_json(folder / "config.json")
    kind = config.get("kind") if isinstance(config, dict) else None
    if kind == LabelCodec.kind:
        return LabelCodec.load(folder)
    if kind == LatentCodec.kind:
        return LatentCodec.restore(folder, load_artifact(folder / "model", device))
    return modality_named(modality).load_codec(folder)


def _load_weights(model: GenerativeModel, file: Path) -> None:
    try:
        model.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise UserError(f"{file} is missing; restore the folder or fit again") from None
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} cannot be read ({reason}); restore the folder or fit again") from None
