"""From a source to encoded examples on disk: a few threads, bounded memory, bad items skipped by name."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import BadItem, UserError

from .base import Source, some
from .store import EncodedStore

_MEMORY = 32 << 20  # bytes of decoded items a thread holds before it encodes them


def chunks(source: Source, indices: Sequence[int] | NDArray[np.int64], size: int = 256) -> Iterator[list[Any]]:
    """Items for `Codec.fit`, at most `size` and about 32 MB at a time; those that cannot be read are left out.

    Raises UserError, naming the first, where none can be read.
    """
    items: list[Any] = []
    weight, readable = 0, False
    first_error: BadItem | None = None
    for index in indices:
        try:
            items.append(source.read(int(index)))
        except BadItem as error:
            first_error = first_error or error
            continue
        readable = True
        weight += source.weigh(items[-1])
        if len(items) == size or weight >= _MEMORY:
            yield items
            items, weight = [], 0
    if items:
        yield items
    if first_error and not readable:
        raise UserError(f"none of {len(indices)} items can be read; the first: {first_error}")


def encode_source(
    source: Source,
    codec: Codec[Any],
    path: Path,
    indices: Sequence[int] | NDArray[np.int64],
    chunk: int = 256,
    tolerance: float = 0.05,
) -> tuple[EncodedStore, NDArray[np.int64], list[str]]:
    """The items at `indices`, encoded in that order at `path`; the indices kept; a message per item skipped.

    Raises UserError where more than `tolerance` of the items cannot be read, naming the first of them.
    """
    kept: list[NDArray[np.int64]] = []
    skipped: list[str] = []

    def encoded() -> Iterator[Tensor]:
        for tensors, good, bad in _in_order(source, codec, np.asarray(indices, dtype=np.int64), chunk):
            skipped.extend(bad)
            if len(skipped) > tolerance * len(indices):
                raise UserError(
                    f"at least {len(skipped)} of {len(indices)} items cannot be read, more than {tolerance:.0%}: "
                    f"{some(skipped)}"
                )
            kept.append(good)
            yield from tensors

    store = EncodedStore.build(path, codec.space, encoded())
    return store, np.concatenate([np.empty(0, np.int64), *kept]), skipped


def unreadable(source: Source, indices: NDArray[np.int64]) -> dict[int, str]:
    """Of the items at `indices`, those that cannot be read, each with a message that names it."""

    def look(index: int) -> str | None:
        try:
            source.read(index)
        except BadItem as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        said = zip(indices.tolist(), pool.map(look, indices.tolist()), strict=True)
        return {index: message for index, message in said if message}


Group = tuple[list[Tensor], NDArray[np.int64], list[str]]


def _in_order(source: Source, codec: Codec[Any], indices: NDArray[np.int64], chunk: int) -> Iterator[Group]:
    """Groups of encoded items in order, a bounded number under way."""
    threads = min(4, os.cpu_count() or 1)
    waiting: deque[Future[Group]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, len(indices), chunk):
                waiting.append(pool.submit(_encode, source, codec, indices[start : start + chunk]))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _encode(source: Source, codec: Codec[Any], indices: NDArray[np.int64]) -> Group:
    tensors: list[Tensor] = []
    good: list[int] = []
    bad: list[str] = []
    items: list[Any] = []
    weight = 0
    for index in indices.tolist():
        try:
            items.append(source.read(index))
        except BadItem as error:
            bad.append(str(error))
            continue
        good.append(index)
        weight += source.weigh(items[-1])
        if weight >= _MEMORY:
            tensors.append(codec.encode(items))
            items, weight = [], 0
    if items:
        tensors.append(codec.encode(items))
    return [torch.cat(tensors)] if tensors else [], np.array(good, dtype=np.int64), bad
