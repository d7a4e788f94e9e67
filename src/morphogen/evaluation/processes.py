"""Samples made by several processes, and read by the first one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch

from ..core.codec import RowCodec
from ..pipeline import Pipeline


def started() -> tuple[int, int]:
    """This process's number, and how many there are: those of a launcher such as torchrun, else one alone."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", timeout=timedelta(days=7))
        # Threads that still wait for the others while the interpreter is torn down abort the process.
        atexit.register(torch.distributed.destroy_process_group)
    return (torch.distributed.get_rank(), ranks) if ranks > 1 else (0, 1)


def sampled(
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
) -> list[Any]:
    """`count` samples in batches, whose items are the same however many processes share them.

    Each process makes every so many-th batch, whole; the first one gets all, and the others nothing. Of rows they are
    tables, one a batch.
    """
    rows = isinstance(pipeline.codec, RowCodec)
    size = batch or pipeline.codec.batch
    made: dict[int, Any] = {}
    for number, start in enumerate(range(0, count, size)):
        if number % ranks != rank:
            continue
        stop = min(start + size, count)
        own = {name: list(values[start:stop]) for name, values in condition.items()}
        if rows:
            parts = list(pipeline.rows(stop - start, seed=seed + start, batch=size, **controls))
            made[number] = parts
        else:
            made[number] = pipeline.sample(stop - start, seed=seed + start, condition=own, batch=size, **controls)
        if progress:
            progress(stop)
    if ranks > 1:
        gathered: list[Any] = [None] * ranks
        torch.distributed.gather_object(made, gathered if rank == 0 else None, dst=0)
        torch.distributed.barrier()  # nobody leaves before all has arrived
        made = {number: items for part in gathered if part for number, items in part.items()} if rank == 0 else {}
    return [item for number in sorted(made) for item in made[number]]
