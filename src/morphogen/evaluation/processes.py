"""Sampling by several processes, whose samples the first one collects."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch

from ..pipeline import Pipeline

_SMALL, _FEWEST = 50, 50  # items of a batch where time is limited, and without which nothing can be said


def start() -> tuple[int, int]:
    """Return this process's rank and the number of processes: those of a launcher such as torchrun, else one."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", timeout=timedelta(days=7))
        # Threads that still wait for others while the interpreter exits would abort the process.
        atexit.register(torch.distributed.destroy_process_group)
    return (torch.distributed.get_rank(), ranks) if ranks > 1 else (0, 1)


def sample(
    pipeline: Pipeline,
    count: int,
    *,
    seed: int,
    condition: Mapping[str, Sequence[Any]],
    controls: Mapping[str, Any],
    batch: int | None,
    rank: int,
    ranks: int,
    progress: Callable[[int], None] | None = None,
    seconds: float | None = None,
) -> list[Any]:
    """Return `count` samples as a list of batches, equal for any number of processes that share them.

    Each process makes every `ranks`-th batch; the first one receives all, and the others nothing. After `seconds` there
    are no further batches: then batches are small.
    """
    size = batch or (pipeline.codec.batch if seconds is None else min(pipeline.codec.batch, _SMALL))
    started = time.monotonic()
    batches: dict[int, list[Any]] = {}
    for number, begin in enumerate(range(0, count, size)):
        if number % ranks != rank:
            continue
        end = min(begin + size, count)
        query = {"condition": {name: list(values[begin:end]) for name, values in condition.items()}}
        parts = pipeline.stream(query, count=end - begin, seed=seed + begin, batch=size, controls=controls)
        batches[number] = list(parts)
        if seconds is not None and time.monotonic() - started > seconds and end >= _FEWEST:
            break
        if progress:
            progress(end)
    if ranks > 1:
        gathered: list[Any] = [None] * ranks
        torch.distributed.gather_object(batches, gathered if rank == 0 else None, dst=0)
        torch.distributed.barrier()  # no process exits before everything has arrived
        batches = {number: parts for own in gathered if own for number, parts in own.items()} if rank == 0 else {}
    return [part for number in sorted(batches) for part in batches[number]]
