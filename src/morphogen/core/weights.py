"""Tensors from files: which ones a model takes, and how much memory it may ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .errors import UserError
from .files import check_memory, guard

_ADVICE = "restore the folder or fit again"
_FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
_BYTES = 4  # of a number


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


class AllocationLimit(TorchFunctionMode):
    """Within the block, tensors are made up to so many bytes in all; the next one raises UserError with `message`.

    It counts what torch's own functions make from sizes: building on the meta device would count exactly, and costs a
    second to import its kernels.
    """

    def __init__(self, size: int, message: str) -> None:
        super().__init__()
        self.left, self.message = size, message

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _FACTORIES:
            sizes = (kwargs or {}).get("size", args)
            self.left -= _BYTES * math.prod(sizes[0] if sizes and isinstance(sizes[0], Sequence) else sizes)
        elif func is torch.arange:
            self.left -= _BYTES * int(max((one for one in args if isinstance(one, int | float)), default=0))
        if self.left < 0:
            raise UserError(self.message)
        return func(*args, **(kwargs or {}))
