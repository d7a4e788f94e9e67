"""A trained model with its codec and conditions: tensors in, tensors out. It knows no raw items."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .core.codec import Codec
from .core.config import Frozen, build, replacing, write_json
from .core.errors import UserError, unknown
from .core.files import as_path, file_hash, inside
from .core.model import Batch, GenerativeModel, LatentModel, Partial, Request
from .core.records import FORMAT
from .core.space import space_to_json
from .nn.nd import autocast
from .version import __version__

ALL = "all"  # as the value of a class condition: all classes in turn
_SMALL = 256  # cells of a grid that is computed in fp32 on a CPU
_MAX_BATCH = 1024  # items that are encoded, decoded or scored together


class Artifact:
    """A model, the codec that leads in and out of it, and the codecs of its conditions."""

    def __init__(
        self,
        *,
        family: str,
        modality: str,
        model: GenerativeModel,
        codec: Codec[Any],
        conditions: Mapping[str, Codec[Any]],
        precision: str = "fp32",
        source: str = "",
        metrics: Mapping[str, Any] | None = None,
        option_names: Iterable[str] | None = None,
    ) -> None:
        """`source` describes the training data, `metrics` holds what was measured of the model.

        `option_names` are the options that the model's folder names. Options that a later version added are not among
        them, and so do not change the hash of an old model. None: all.
        """
        self.family, self.modality, self.model, self.codec = family, modality, model.eval(), codec
        self.conditions, self.precision, self.source = dict(conditions), precision, source
        self.metrics = dict(metrics or {})
        self.folder: Path | None = None  # where it was loaded from, or saved to after training
        self._option_names = set(model.options.model_dump() if option_names is None else option_names)

    @property
    def hash(self) -> str:
        """SHA-256 of the model's description (family, space, conditions, options), its codecs and its weights."""
        digest = hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode())
        tensors = dict(self.model.state_dict())
        for name, codec in [("codec", self.codec), *self.conditions.items()]:
            settings, codec_tensors = codec.state()
            digest.update(json.dumps({name: settings}, sort_keys=True).encode())
            tensors |= {f"{name}|{key}": value for key, value in codec_tensors.items()}
        for name, value in sorted(tensors.items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path | str) -> None:
        """Write the model folder; each file is written whole or not at all.

        Raises UserError where the name of a condition cannot be that of a folder.
        """
        folder = as_path(folder, "the folder")
        places = {name: inside(folder / "conditions", name) for name in self.conditions}
        folder.mkdir(parents=True, exist_ok=True)
        self.codec.save(folder / "codec")
        for name, codec in self.conditions.items():
            codec.save(places[name])
        with replacing(folder / "model.safetensors") as temporary:
            state = self.model.state_dict()
            save_file({name: value.detach().cpu().clone().contiguous() for name, value in state.items()}, temporary)
        write_json(folder / "metrics.json", self.metrics)
        config = {"format": FORMAT, "morphogen": __version__, **self._description()}
        if isinstance(self.model, LatentModel):
            config["latent"] = space_to_json(self.model.latent)
        config |= {"precision": self.precision, "source": self.source, "files": _hashes(folder)}
        write_json(folder / "config.json", config)

    def controls(self, values: Mapping[str, Any]) -> Frozen:
        """Return the model's Controls with these values. Raises UserError on an unknown, impossible or void one."""
        controls = build(self.model.Controls, values, "controls")
        for name, reason in self.model.void_controls(controls).items():
            if name in type(controls).model_fields and getattr(controls, name) != controls.default(name):
                raise UserError(f"controls.{name} has no effect with {reason}; drop it")
        return controls

    @property
    def required_conditions(self) -> list[str]:
        """Conditions without which nothing can be sampled: items, such as a picture at a low resolution.

        A class may be left out: its null condition stands for any class.
        """
        return [name for name, codec in self.conditions.items() if not codec.classes]

    def encode_conditions(self, condition: Mapping[str, Any], count: int) -> dict[str, Tensor]:
        """Return conditions as tensors `(count, *shape)`.

        A class is given by its name: one for all samples, a list with one for each, or `all` for all classes in turn.
        Every other condition is given as its codec encodes it, `(1 or count, *shape)`. Raises UserError on an unknown
        condition or class, and where their number is neither 1 nor `count`.
        """
        encoded = {}
        for name, value in condition.items():
            if name not in self.conditions:
                raise self.unknown_condition(name)
            codec = self.conditions[name]
            x = _encode_classes(codec, value, count) if codec.classes else value
            if len(x) not in (1, count):
                raise UserError(f"condition '{name}' has {len(x)} values for {count} samples; give one or {count}")
            encoded[name] = x.expand(count, *x.shape[1:])
        return encoded

    def unknown_condition(self, name: str) -> UserError:
        """Return the error for a condition that this model does not have, with the nearest that it has."""
        if self.conditions:
            return unknown("condition", name, self.conditions)
        return UserError(f"this model takes no condition '{name}'; drop it, or fit with --condition {name}")

    def autocast(self) -> torch.autocast:
        """Return the context in which the model computes in the precision that it was trained in.

        Small grids are in fp32 on a CPU: casting the weights of one picture of 8 x 8 takes as long as sampling it.
        """
        space = self.model.space
        small = self.model.device.type == "cpu" and space.continuous and space.positions <= _SMALL
        return autocast("fp32" if small else self.precision, self.model.device)

    def generate(self, request: Request, controls: Frozen) -> Iterator[Partial]:
        """Yield drafts of the samples that a request describes; the last is the samples. Drafts are on the device."""
        drafts = self.model.generate(self._on_device(request), controls)
        with self.autocast():
            try:
                for draft in drafts:
                    # A model may hold an autocast state of its own from draft to draft: the states have to be nested.
                    with torch.autocast(self.model.device.type, enabled=False):  # the caller's
                        yield draft
            finally:
                if isinstance(drafts, Generator):
                    drafts.close()

    def sample(self, request: Request, controls: Frozen) -> Tensor:
        """Return the samples that a request describes, on the CPU: the last draft of `generate`."""
        with self.autocast():  # once for all drafts, so that cast weights are kept between steps
            for draft in self.model.generate(self._on_device(request), controls):
                x = draft.x
        return to_cpu(x)

    def batches(self, x: Tensor, condition: Mapping[str, Tensor] | None = None) -> Iterator[Batch]:
        """Yield encoded items, with their encoded conditions, in batches on the model's device.

        Raises UserError where there are none.
        """
        if not len(x):
            raise UserError("there are no items; give at least one")
        size, device = min(self.codec.batch, _MAX_BATCH), self.model.device
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            own = {name: value[part].to(device) for name, value in (condition or {}).items()}
            yield Batch(x[part].to(device), own)

    def _on_device(self, request: Request) -> Request:
        return replace(
            request, condition={name: value.to(self.model.device) for name, value in request.condition.items()}
        )

    def _description(self) -> dict[str, Any]:
        options = self.model.options.model_dump(mode="json")
        return {
            "family": self.family,
            "modality": self.modality,
            "space": space_to_json(self.model.space),
            "conditions": {name: space_to_json(codec.space) for name, codec in self.conditions.items()},
            "options": {name: value for name, value in options.items() if name in self._option_names},
        }


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a model is loaded from, by its path in the model folder."""
    codecs = (path for place in ("codec", "conditions") for path in sorted((folder / place).rglob("*")))
    files = [folder / "model.safetensors", *(path for path in codecs if path.is_file())]
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def _encode_classes(codec: Codec[Any], value: Any, count: int) -> Tensor:
    if isinstance(value, str) and value == ALL and ALL not in codec.classes:
        return codec.encode(codec.classes)[torch.arange(count) % len(codec.classes)]
    value = value.tolist() if hasattr(value, "tolist") else value  # arrays, tensors, series
    values = value if isinstance(value, (list, tuple)) else [value]
    return codec.encode([str(name) for name in values])


def to_cpu(x: Tensor) -> Tensor:
    """Return tokens as they are and numbers in single precision, on the CPU."""
    return x.detach().float().cpu() if x.is_floating_point() else x.cpu()
