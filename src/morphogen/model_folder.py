"""Read model folders: artifacts, codecs and conditions as `Artifact.save` wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .artifact import Artifact
from .core import plugins
from .core.codec import Codec
from .core.condition import LabelCodec
from .core.config import build, read_json
from .core.errors import UserError, one_line
from .core.files import as_path, check_link, file_hash, guard, inside
from .core.modality import modality as modality_named
from .core.model import GenerativeModel, LatentModel
from .core.records import FORMAT, ModelConfig, read_metrics, read_record
from .core.space import Space, space_from_json
from .core.weights import AllocationLimit, check_tensors, load_tensors
from .latent_codec import LatentCodec
from .nn.nd import place

_RESTORE = "restore the folder or fit again"
_SLACK = 8, 1 << 28  # how much more memory than its weights building a model may take: times, and bytes


def load_artifact(folder: Path | str, device: str | None = None) -> Artifact:
    """Return the artifact in a model folder, on the GPU where there is one.

    Raises UserError where it is no model folder, or one that is unfinished, damaged, changed or of another format, and
    where there is no such device.
    """
    folder, device = as_path(folder, "the model folder"), _device(device)
    config = _read_config(folder)
    space = _read_space(config.space, folder)
    model_class = plugins.model_for(config.family, type(space))
    options = build(model_class.Options, config.options, "options")
    modality_named(config.modality)  # an unknown name is refused
    _check_files(folder, config)
    codec = load_codec(config.modality, folder / "codec", device)
    if codec.space != space:
        raise UserError(
            f"the codec in {folder / 'codec'} is not that of this model: it maps to {codec.space}, and not to "
            f"{space}; {_RESTORE}"
        )
    conditions = {name: load_codec(config.modality, inside(folder / "conditions", name)) for name in config.conditions}
    spaces = {name: _read_space(value, folder) for name, value in config.conditions.items()}
    for name, condition in conditions.items():
        if condition.space != spaces[name]:
            raise UserError(f"the codec in {folder / 'conditions' / name} is not that of this model; {_RESTORE}")
    with guard(folder / "config.json", "describes no model", _RESTORE):
        model = _build(model_class, space, spaces, options, folder / "model.safetensors")
    latent = model.latent if isinstance(model, LatentModel) else None
    if config.latent is not None and _read_space(config.latent, folder) != latent:
        raise UserError(f"{folder / 'config.json'} describes latents that this model does not have; {_RESTORE}")
    _load_weights(model, folder / "model.safetensors")
    metrics = read_metrics(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
    place(model, device)
    artifact = Artifact(
        family=config.family,
        modality=config.modality,
        model=model,
        codec=codec,
        conditions=conditions,
        precision=config.precision,
        source=config.source,
        metrics=metrics,
        option_names=config.options,
    )
    artifact.folder = folder
    return artifact


def _device(name: str | None) -> str:
    """Return the device of that name, by default the GPU where there is one. Raises UserError where it is not there."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise UserError(f"there is no device {name!r} ({one_line(error)}); expected cpu, cuda or cuda:1") from None
    return str(name)


def _read_config(folder: Path) -> ModelConfig:
    """Return the config.json of a model folder. Raises UserError where it is no folder of this format."""
    if not folder.is_dir():
        raise UserError(f"there is no model folder '{folder}'")
    file = folder / "config.json"
    if not file.exists() and (folder / "training").is_dir():
        raise UserError(f"the fit in '{folder}' has not finished; continue it with --resume")
    check_link(file, folder)
    config = read_json(file)
    if not isinstance(config, dict) or type(config.get("format")) is not int:
        raise UserError(f"{file} has no format version; expected a morphogen model folder")
    if config["format"] != FORMAT:
        version = f"{config['format']!s:.20} by morphogen {config.get('morphogen')!s:.20}"
        what_to_do = "pip install -U morphogen" if config["format"] > FORMAT else "fit again"
        raise UserError(f"{folder} was written in format {version}; this one reads format {FORMAT}: {what_to_do}")
    return read_record(file, ModelConfig)


def _read_space(data: dict[str, Any], folder: Path) -> Space:
    try:
        return space_from_json(data)
    except UserError as error:
        raise UserError(f"{folder / 'config.json'} is damaged: {error}; {_RESTORE}") from None


def _check_files(folder: Path, config: ModelConfig) -> None:
    """Raise UserError where a file of the model is missing, a link to another place, or not the one that was saved."""
    for needed in (
        "model.safetensors",
        "codec/config.json",
        *(f"conditions/{one}/config.json" for one in config.conditions),
    ):
        if needed not in config.files:
            raise UserError(f"{folder / 'config.json'} has no hash of {needed}; {_RESTORE}")
    for name, digest in config.files.items():
        path = folder / name
        check_link(path, folder)
        if not path.is_file():
            raise UserError(f"{path} is missing; {_RESTORE}")
        with guard(path, "cannot be read", _RESTORE):
            current = file_hash(path)
        if current != digest:
            raise UserError(f"{path} was changed or damaged after the model was saved; {_RESTORE}")


def load_codec(modality: str, folder: Path, device: str | None = None) -> Codec[Any]:
    """Return the codec in a folder: of class names, an autoencoder that lies in it, or the modality's own."""
    config = read_json(folder / "config.json")
    kind = config.get("kind") if isinstance(config, dict) else None
    if kind == LabelCodec.kind:
        return LabelCodec.load(folder)
    if kind == LatentCodec.kind:
        return LatentCodec.restore(folder, load_artifact(folder / "model", device))
    return modality_named(modality).load_codec(folder)


def _build(
    model_class: type[GenerativeModel], space: Space, spaces: dict[str, Space], options: Any, file: Path
) -> GenerativeModel:
    """Return the model that the options describe. Raises UserError where it is much larger than the file of weights."""
    size, (times, more) = file.stat().st_size, _SLACK
    message = (
        f"the options in {file.with_name('config.json')} describe a model that needs more memory than its weights in "
        f"{file}, of {size:,} bytes, leave room for; {_RESTORE}"
    )
    with AllocationLimit(times * size + more, message):
        return model_class(space, spaces, options)


def _load_weights(model: GenerativeModel, file: Path) -> None:
    tensors = load_tensors(file)
    check_tensors(tensors, model.state_dict(), file)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # the last of several lines names a tensor
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{file} cannot be read ({reason}); {_RESTORE}") from None
