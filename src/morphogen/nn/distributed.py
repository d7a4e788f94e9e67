"""Reductions that keep buffers equal on all processes of a training run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch.distributed as dist
from torch import Tensor

_ALONE = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Return a context without communication, for computations of this process alone, such as a speed test."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def sum_over_processes(x: Tensor) -> Tensor:
    """Return the sum of the tensors of all processes, computed in place; with one process the tensor itself."""
    if _together():
        dist.all_reduce(x)
    return x


def from_first_process(x: Tensor) -> Tensor:
    """Return the tensor of the first process, copied in place; with one process the tensor itself."""
    if _together():
        dist.broadcast(x, src=0)
    return x


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and not _ALONE.get()
