"""From a source to encoded examples on disk: a few threads, bounded memory, bad items skipped by name."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import BadItem, UserError

from .base import Source, some
from .store import EncodedStore

_BLOCK = 1 << 16  # items at a time of a source that holds them together
_MEMORY = 32 << 20  # bytes of decoded items a thread holds before it encodes them


def chunks(source: Source, indices: Sequence[int] | NDArray[np.int64], size: int = 256) -> Iterator[list[Any]]:
    """Items for `Codec.fit`, at most `size` and about 32 MB at a time; those that cannot be read are left out.

    Raises UserError, naming the first, where none can be read.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    if source.block(wanted[:1]) is not None:
        yield from (source.block(wanted[start : start + _BLOCK]) for start in range(0, len(wanted), _BLOCK))
        return
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


class Encoded(NamedTuple):
    """What `encode_source` left on disk, and what it read."""

    store: EncodedStore
    kept: NDArray[np.int64]  # the indices of the items that could be read
    items: NDArray[np.int64]  # which of these each row is of, not falling
    skipped: list[str]  # a message for each of the others


def encode_source(
    source: Source,
    codec: Codec[Any],
    path: Path,
    *parts: Sequence[int] | NDArray[np.int64],
    alone: bool = True,
    chunk: int = 256,
    tolerance: float = 0.05,
) -> Encoded:
    """The items at the indices of each part, cut to rows by `codec.cut`, in that order at `path`.

    No row holds items of two parts, nor, where they are `alone`, two items.
    Raises UserError where more than `tolerance` of the items cannot be read, naming the first of them.
    """
    kept: list[NDArray[np.int64]] = []
    items: list[NDArray[np.int64]] = []
    skipped: list[str] = []
    wanted = [np.asarray(part, dtype=np.int64) for part in parts]
    count = sum(map(len, wanted))

    def encoded() -> Iterator[Tensor]:
        read = 0
        for rows, owners, good, bad in _in_order(source, codec, wanted, chunk, alone):
            skipped.extend(bad)
            if len(skipped) > tolerance * count:
                raise UserError(
                    f"at least {len(skipped)} of {count} items cannot be read, more than {tolerance:.0%}: "
                    f"{some(skipped)}"
                )
            kept.append(good)
            items.append(owners + read)
            read += len(good)
            yield from rows

    store = EncodedStore.build(path, codec.space, encoded())
    empty = np.empty(0, np.int64)
    return Encoded(store, np.concatenate([empty, *kept]), np.concatenate([empty, *items]), skipped)


def unreadable(source: Source, indices: NDArray[np.int64]) -> dict[int, str]:
    """Of the items at `indices`, those that cannot be read, each with a message that names it."""

    if len(indices) and source.block(indices[:1]) is not None:
        return {}

    def look(index: int) -> str | None:
        try:
            source.read(index)
        except BadItem as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        said = zip(indices.tolist(), pool.map(look, indices.tolist()), strict=True)
        return {index: message for index, message in said if message}


class _Group(NamedTuple):
    rows: list[Tensor]
    items: NDArray[np.int64]  # which of the good ones each row is of
    good: NDArray[np.int64]
    bad: list[str]


def _in_order(
    source: Source, codec: Codec[Any], parts: Sequence[NDArray[np.int64]], chunk: int, alone: bool
) -> Iterator[_Group]:
    """Groups of encoded items in order, a bounded number under way."""
    threads = min(4, os.cpu_count() or 1)
    waiting: deque[Future[_Group]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for part in parts:
                # Not as many at a time where each has to be read by itself.
                size = chunk if not len(part) or source.block(part[:1]) is None else _BLOCK
                for start in range(0, len(part), size):
                    waiting.append(pool.submit(_encode, source, codec, part[start : start + size], alone))
                    if len(waiting) > threads:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _encode(source: Source, codec: Codec[Any], indices: NDArray[np.int64], alone: bool) -> _Group:
    together = source.block(indices) if len(indices) else None
    if together is not None:
        cells, of = codec.cut(together, alone)
        return _Group([cells], of.numpy(), indices, [])
    rows: list[Tensor] = []
    owners: list[Tensor] = []
    good: list[int] = []
    bad: list[str] = []
    items: list[Any] = []
    weight = 0

    def cut() -> None:
        found, of = codec.cut(items, alone)
        rows.append(found)
        owners.append(of + len(good) - len(items))

    for index in indices.tolist():
        try:
            items.append(source.read(index))
        except BadItem as error:
            bad.append(str(error))
            continue
        good.append(index)
        weight += source.weigh(items[-1])
        if weight >= _MEMORY:
            cut()
            items, weight = [], 0
    if items:
        cut()
    found = torch.cat(owners).numpy() if owners else np.empty(0, np.int64)
    return _Group([torch.cat(rows)] if rows else [], found, np.array(good, dtype=np.int64), bad)
