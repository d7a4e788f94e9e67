"""Encoded examples on disk, read by index with plain reads, so that memory does not grow with the data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.config import replacing
from morphogen.core.errors import UserError, one_line
from morphogen.core.space import Space, space_from_json, space_to_json

_MAGIC, _BLOCK = b"morphogen-store-2\n", 4096  # the length of the header, a multiple of _BLOCK, follows _MAGIC
_READ = 1 << 26  # bytes of consecutive examples that are read at once


class EncodedStore:
    """Examples of `space.shape` on disk, compact and lossless: tokens and steps of a Grid as integers, else float32.

    The values of a Grid with a `step` are `(2 i - steps) / steps`, with `steps = 2 / step`; rounding errors are
    removed. Reading is safe from several threads and processes.
    """

    def __init__(self, path: Path) -> None:
        """Open what `build` wrote. Raises UserError where the file is absent, damaged or not a store."""
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"the encoded data {path} cannot be opened ({error.strerror}); fit again") from None
        self.path = path
        header = os.pread(self._file, _BLOCK, 0)
        try:
            if not header.startswith(_MAGIC):
                raise ValueError("another kind of file")
            length, _, _ = header[len(_MAGIC) :].partition(b"\n")
            self._header = int(length)
            header = os.pread(self._file, self._header, 0)
            self.space = space_from_json(json.loads(header[len(_MAGIC) + len(length) :]))
        except (ValueError, RecursionError, OSError, OverflowError, MemoryError, UserError) as error:
            raise UserError(f"{path} is not encoded data ({one_line(error)}); remove it and fit again") from None
        self._dtype, self._steps = _compact(self.space)
        self._size = self.space.dimensions * self._dtype.itemsize
        self._count, rest = divmod(os.fstat(self._file).st_size - self._header, self._size)
        if rest or self._count < 0:
            raise UserError(f"{path} is cut short in example {max(0, self._count)}; remove it and fit again")

    @classmethod
    def build(cls, path: Path, space: Space, chunks: Iterable[Tensor]) -> Self:
        """Write chunks `(B, *space.shape)` to `path`, whole or not at all. Raises UserError where values do not fit."""
        description = json.dumps(space_to_json(space)).encode()
        length = -(-(len(description) + 64) // _BLOCK) * _BLOCK
        header = _MAGIC + b"%d\n" % length + description
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(header.ljust(length, b" "))
            for chunk in chunks:
                if tuple(chunk.shape[1:]) != space.shape:
                    raise UserError(f"encoded items have shape {tuple(chunk.shape[1:])}; the space says {space.shape}")
                file.write(np.ascontiguousarray(_pack(chunk.numpy(), space)).data)
        return cls(path)

    def __len__(self) -> int:
        return self._count

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return `(B, *space.shape)`, float32 or int64, exactly as encoded. Raises IndexError past the end."""
        index = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(index) and not (index.min() >= 0 and index.max() < self._count):
            raise IndexError(f"example {index.min()} or {index.max()} is outside 0..{self._count - 1}")
        # Examples that follow each other on disk, as in an evaluation's order, are one read. Its size is bounded: one
        # call of `pread` returns at most 2 GB.
        breaks = np.flatnonzero(np.diff(index) != 1) + 1
        starts = np.union1d(breaks, np.arange(0, len(index), max(1, _READ // self._size)))
        sizes = np.diff(starts, append=len(index)) * self._size
        offsets = index[starts] * self._size + self._header
        reads = [os.pread(self._file, size, at) for size, at in zip(sizes.tolist(), offsets.tolist(), strict=True)]
        data = bytearray().join(reads)
        if len(data) != len(index) * self._size:
            raise UserError(f"{self.path} became shorter while it was read; fit again")
        values = np.frombuffer(data, self._dtype).reshape(len(index), *self.space.shape)
        if not self.space.continuous:
            return torch.from_numpy(values.astype(np.int64))
        if not self._steps:
            return torch.from_numpy(values)
        return torch.from_numpy(_on_grid(values, self._steps))


def _compact(space: Space) -> tuple[np.dtype[Any], int]:
    """Return the type on disk, and the number of steps from -1 to 1 (0: values have none)."""
    if space.continuous:
        steps = round(2 / space.step) if space.step > 0 else 0
        if not 0 < steps < 2**16:
            return np.dtype(np.float32), 0
        return np.dtype(np.uint8 if steps < 2**8 else np.uint16), steps
    return np.min_scalar_type(space.cardinality - 1), 0


def _pack(values: NDArray[Any], space: Space) -> NDArray[Any]:
    """Return values of the space in the type on disk. Raises UserError where they do not lie in the space."""
    dtype, steps = _compact(space)
    if not space.continuous:
        if values.size and not (values.min() >= 0 and values.max() < space.cardinality):
            raise UserError(f"tokens lie in {values.min()}..{values.max()}; expected 0..{space.cardinality - 1}")
        return values.astype(dtype)
    if not steps:
        return values.astype(np.float32)
    index = np.rint((values.astype(np.float64) + 1) * (steps / 2))
    if values.size and not (index.min() >= 0 and index.max() <= steps):
        raise UserError(f"encoded values lie in {values.min()}..{values.max()}; a space with a step expects -1..1")
    packed = index.astype(dtype)
    if np.abs(_on_grid(packed, steps) - values).max(initial=0) > 0.01 / steps:
        raise UserError(f"encoded values lie between the steps of {2 / steps:g} that their space promises")
    return packed


def _on_grid(index: NDArray[Any], steps: int) -> NDArray[np.float32]:
    """Return the values of steps, float32: exactly those that any other code computes by the same formula."""
    # Integers below 2^24 are exact in float32, and division rounds correctly.
    x = index.astype(np.float32)
    x *= 2
    x -= steps
    x /= steps
    return x
