"""Tensors from files: which ones a model takes, and how much memory a model would need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from .errors import UserError
from .files import check_memory, guard

_ADVICE = "restore the folder or fit again"


def load_tensors(file: Path, advice: str = _ADVICE) -> dict[str, Tensor]:
    """Return the tensors in a file; none where there is no file. Raises UserError where it is damaged."""
    from safetensors.torch import load_file

    if not file.exists():
        return {}
    with guard(file, "cannot be read", advice):
        check_memory(file.stat().st_size, file)
        return load_file(file)


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path) -> None:
    """Raise UserError where names or types differ from those of a model's state, or a number is not finite.

    Shapes are not compared: some state has the size of the data.
    """
    if missing := expected.keys() - tensors.keys():
        raise UserError(f"{file} lacks {min(missing)}: it is of another model; {_ADVICE}")
    if unknown := tensors.keys() - expected.keys():
        raise UserError(f"{file} holds {min(unknown)}, which this model does not have; {_ADVICE}")
    for name, value in tensors.items():
        if value.dtype != expected[name].dtype:
            raise UserError(f"{file}: {name} is {value.dtype}; expected {expected[name].dtype}; {_ADVICE}")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(f"{file}: {name} holds a number that is not finite; {_ADVICE}")


def state_bytes(build: Callable[[], nn.Module]) -> int:
    """Return the bytes of the state of the module that `build` returns, without asking for its memory.

    0 for a module that cannot be built without memory.
    """
    try:
        with torch.device("meta"):
            return sum(value.numel() * value.element_size() for value in build().state_dict().values())
    except Exception:
        return 0
