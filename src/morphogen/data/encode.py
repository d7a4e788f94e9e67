"""Encoding the items of a source to disk: in a few threads and bounded memory; unreadable items are named, skipped."""

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

from .base import Source, abbreviated
from .store import EncodedStore

_BLOCK = 1 << 16  # items at a time of a source that reads blocks
_MEMORY = 32 << 20  # bytes of decoded items a thread holds before it encodes them

Indices = Sequence[int] | NDArray[np.int64]


def chunks(source: Source, indices: Indices, size: int = 256) -> Iterator[Any]:
    """Yield collections of items for `Codec.fit`, at most `size` and about 32 MB at a time.

    Items that cannot be read are left out. Raises UserError, naming the first, where none can be read.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if source.block(indices[:1]) is not None:
        yield from (source.block(indices[start : start + _BLOCK]) for start in range(0, len(indices), _BLOCK))
        return
    items: list[Any] = []
    weight, readable = 0, False
    first_error: BadItem | None = None
    for index in indices.tolist():
        try:
            items.append(source.read(index))
        except BadItem as error:
            first_error = first_error or error
            continue
        readable = True
        weight += source.weigh(items[-1])
        if len(items) == size or weight >= _MEMORY:
            yield source.collect(items)
            items, weight = [], 0
    if items:
        yield source.collect(items)
    if first_error and not readable:
        raise UserError(f"none of {len(indices)} items can be read; the first: {first_error}")


class Encoded(NamedTuple):
    """What `encode_source` wrote, and which items it read."""

    store: EncodedStore
    indices: NDArray[np.int64]  # of the items in the source that could be read
    owners: NDArray[np.int64]  # for each example, the position in `indices` of its first item; not falling
    skipped: list[str]  # a message for each item that could not be read


def encode_source(
    source: Source,
    codec: Codec[Any],
    path: Path,
    *parts: Indices,
    alone: bool = True,
    chunk: int = 256,
    tolerance: float = 0.05,
) -> Encoded:
    """Write the items at the indices of each part to `path`, packed by `codec.pack`, in that order.

    No example holds items of two parts, nor, where they are `alone`, two items.
    Raises UserError where more than `tolerance` of the items cannot be read, naming the first of them.
    """
    indices: list[NDArray[np.int64]] = []
    owners: list[NDArray[np.int64]] = []
    skipped: list[str] = []
    arrays = [np.asarray(part, dtype=np.int64) for part in parts]
    count = sum(map(len, arrays))

    def examples() -> Iterator[Tensor]:
        read = 0
        for group in _in_order(source, codec, arrays, chunk, alone):
            skipped.extend(group.problems)
            if len(skipped) > tolerance * count:
                raise UserError(
                    f"at least {len(skipped)} of {count} items cannot be read, more than {tolerance:.0%}: "
                    f"{abbreviated(skipped)}"
                )
            indices.append(group.indices)
            owners.append(group.owners + read)
            read += len(group.indices)
            yield from group.examples

    store = EncodedStore.build(path, codec.space, examples())
    empty = np.empty(0, np.int64)
    return Encoded(store, np.concatenate([empty, *indices]), np.concatenate([empty, *owners]), skipped)


def unreadable(source: Source, indices: NDArray[np.int64]) -> dict[int, str]:
    """Return those of the items at `indices` that cannot be read, each with a message that names it."""
    if source.block(indices[:1]) is not None:
        return {}

    def problem(index: int) -> str | None:
        try:
            source.read(index)
        except BadItem as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        problems = zip(indices.tolist(), pool.map(problem, indices.tolist()), strict=True)
        return {index: message for index, message in problems if message}


class _Group(NamedTuple):
    examples: list[Tensor]
    owners: NDArray[np.int64]  # for each example, the position in `indices` of its first item
    indices: NDArray[np.int64]  # of the items that could be read
    problems: list[str]  # a message for each other item


def _in_order(
    source: Source, codec: Codec[Any], parts: Sequence[NDArray[np.int64]], chunk: int, alone: bool
) -> Iterator[_Group]:
    """Yield groups of encoded items in order, while threads encode a bounded number of others."""
    threads = min(4, os.cpu_count() or 1)
    waiting: deque[Future[_Group]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for part in parts:
                size = chunk if source.block(part[:1]) is None else _BLOCK
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
    if (block := source.block(indices)) is not None:
        block_examples, block_owners = codec.pack(block, alone)
        return _Group([block_examples], block_owners.numpy(), indices, [])
    packed: list[Tensor] = []
    owners: list[Tensor] = []
    readable: list[int] = []
    problems: list[str] = []
    items: list[Any] = []
    weight = 0

    def pack() -> None:
        examples, positions = codec.pack(source.collect(items), alone)
        packed.append(examples)
        owners.append(positions + len(readable) - len(items))

    for index in indices.tolist():
        try:
            items.append(source.read(index))
        except BadItem as error:
            problems.append(str(error))
            continue
        readable.append(index)
        weight += source.weigh(items[-1])
        if weight >= _MEMORY:
            pack()
            items, weight = [], 0
    if items:
        pack()
    positions = torch.cat(owners).numpy() if owners else np.empty(0, np.int64)
    examples = [torch.cat(packed)] if packed else []
    return _Group(examples, positions, np.array(readable, dtype=np.int64), problems)
