"""Figures that all processes of a training run must hold alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch.distributed as dist
from torch import Tensor

_ALONE = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process computes by itself what the others do not: a trial."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of every process's tensor, in place; the tensor itself where there is one process."""
    if _together():
        dist.all_reduce(x)
    return x


def from_first_process(x: Tensor) -> Tensor:
    """The first process's tensor, in place; the tensor itself where there is one process."""
    if _together():
        dist.broadcast(x, src=0)
    return x


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and not _ALONE.get()
