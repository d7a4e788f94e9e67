"""Rows of features that a metric has to hold, and what it reads of pairs of them, without all pairs in memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import Metric, checked

_TILE = 1024  # rows and columns of a block of pairs: N x N never lives in memory
_BLOCK = 256  # rows that are looked at together: they stay in the cache
_ODD = 0x9E3779B97F4A7C15


def digests(x: Tensor) -> NDArray[np.uint64]:
    """A number for each row that its bits settle, `(N,)`: an order that does not depend on how rows came in."""
    values = np.ascontiguousarray(x.numpy())
    bits = values.view(np.uint64 if values.dtype == np.float64 else np.uint32)
    odd = np.random.default_rng(0).integers(0, 2**63, (bits.shape[1], 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    total = np.zeros(len(bits), dtype=np.uint64)
    for column in range(bits.shape[1]):
        word = bits[:, column].astype(np.uint64)
        total += (word ^ (word >> np.uint64(32))) * odd[column]
    total = (total ^ (total >> np.uint64(29))) * np.uint64(_ODD)
    return total ^ (total >> np.uint64(32))


class Rows:
    """At most `most` of the rows that were added, those with the smallest digests, which is a fair draw of them.

    Which these are depends neither on the order in which rows came, nor on how many processes saw them.
    """

    def __init__(self, most: int) -> None:
        self.most, self.seen = most, 0
        self._parts: list[Tensor] = []
        self._held = 0

    def add(self, x: Tensor) -> None:
        """Rows `(N, d)`, float32 or float64."""
        self.seen += len(x)
        self._parts.append(x)
        self._held += len(x)
        if self._held > 2 * self.most:
            self._thin()

    def merge(self, other: Self) -> None:
        seen = self.seen + other.seen
        for part in other._parts:
            self.add(part)
        self.seen = seen

    @property
    def width(self) -> int | None:
        return self._parts[0].shape[1] if self._parts else None

    def get(self) -> Tensor:
        """`(min(N, most), d)`, in the order of their digests."""
        self._thin()
        return self._parts[0] if self._parts else torch.empty(0, 0, dtype=torch.float64)

    def _thin(self) -> None:
        if not self._parts:
            return
        x = torch.cat(self._parts) if len(self._parts) > 1 else self._parts[0]
        order = np.argsort(digests(x), kind="stable")[: self.most]
        self._parts = [x[torch.from_numpy(order)]]
        self._held = len(order)


class RowMetric(Metric):
    """A metric that needs the rows themselves, of which it holds at most `most` a side."""

    def __init__(self, most: int) -> None:
        self.rows = {True: Rows(most), False: Rows(most)}

    def update(self, features: Any, real: bool) -> None:
        width = next((rows.width for rows in self.rows.values() if rows.width), None)
        x = checked(features, width, dtype=None)
        if len(x):
            self.rows[real].add(x)

    def merge(self, other: Self) -> None:
        for side, rows in other.rows.items():
            self.rows[side].merge(rows)

    def sides(self) -> tuple[Tensor, Tensor]:
        """The real and the generated rows held, `(N, d)` and `(M, d)`, float64 but where all were float32."""
        real, generated = self.rows[True].get(), self.rows[False].get()
        width = real.shape[1] or generated.shape[1]  # of a side that has seen nothing there is none
        wide = torch.promote_types(real.dtype, generated.dtype)
        return real.reshape(len(real), width).to(wide), generated.reshape(len(generated), width).to(wide)


class Tile:
    """A block of pairs: which rows and columns, and the products of their features less the centre; until the next."""

    def __init__(self, rows: slice, columns: slice, product: Tensor, norms: Sequence[Tensor], space: Tensor) -> None:
        self.rows, self.columns, self.product = rows, columns, product
        self._norms, self._space = (norms[0][rows], norms[1][columns]), space
        self._distances: Tensor | None = None

    def distances(self) -> Tensor:
        """The squared distances, up to rounding, which may be below 0. Read only: others read them, too."""
        if self._distances is None:
            whole = torch.add(self._norms[0][:, None], self._norms[1], out=like(self.product, self._space))
            self._distances = whole.sub_(self.product, alpha=2)
        return self._distances


def by_blocks(x: Tensor, made: Callable[[Tensor], Tensor]) -> Tensor:
    """What is made of each row of `x` `(N, d)`, without anything as large as `x` on the way."""
    return torch.cat([made(block) for block in x.split(_BLOCK)])


def like(x: Tensor, space: Tensor) -> Tensor:
    """So much of `space` as `x` needs, in its shape: fresh memory for each block costs a tenth of the time."""
    return space[: x.numel()].view(x.shape)


def tiles(x: Tensor, y: Tensor | None) -> Iterator[Tile]:
    """Blocks of all pairs of rows of `x` and `y`; of `x` with itself (None) only those on and above the diagonal."""
    other = x if y is None else y
    norms = [by_blocks(one, lambda block: torch.linalg.vecdot(block, block)) for one in (x, other)]
    products, distances = x.new_empty(2, _TILE * _TILE).unbind()
    for start in range(0, len(x), _TILE):
        rows = slice(start, min(start + _TILE, len(x)))
        for at in range(start if y is None else 0, len(other), _TILE):
            columns = slice(at, min(at + _TILE, len(other)))
            count = (rows.stop - rows.start, columns.stop - columns.start)
            product = torch.mm(x[rows], other[columns].T, out=products[: count[0] * count[1]].view(count))
            yield Tile(rows, columns, product, norms, distances)


class PairMetric(RowMetric):
    """A metric of pairs of rows. Several of them read the same blocks, see `together`."""

    @abstractmethod
    def start(self, real: Tensor, generated: Tensor, centre: Tensor) -> None:
        """Before any block, the rows less their `centre`. Raises UserError on too few."""

    @abstractmethod
    def within(self, tile: Tile, real: bool) -> None:
        """A block of pairs of one side, on or above the diagonal."""

    @abstractmethod
    def between(self, tile: Tile) -> None:
        """A block of pairs of a real (row) and a generated (column) item, after all those within the sides."""

    @abstractmethod
    def finish(self) -> dict[str, float]:
        """The figures, after all blocks."""

    def compute(self) -> dict[str, float]:
        return together([self])


def sharing(*metrics: PairMetric) -> tuple[PairMetric, ...]:
    """The metrics with the rows of the first, which alone has to be updated."""
    for other in metrics[1:]:
        other.rows = metrics[0].rows
    return metrics


def together(metrics: Sequence[PairMetric]) -> dict[str, float]:
    """The figures of several metrics that hold the same rows, which computes the products of pairs only once."""
    real, generated = metrics[0].sides()
    for other in metrics[1:]:
        if other.rows is not metrics[0].rows and not all(
            torch.equal(one, two) for one, two in zip((real, generated), other.sides(), strict=True)
        ):
            raise ValueError("metrics that are computed together must hold the same rows")
    # Distances by a matrix product lose what the origin is far away.
    centre = real.double().mean(0) if len(real) else torch.zeros(real.shape[1], dtype=torch.float64)
    real, generated = (by_blocks(x, lambda block: (block.double() - centre).to(block.dtype)) for x in (real, generated))
    for metric in metrics:
        metric.start(real, generated, centre)
    passes: list[tuple[Tensor, Tensor | None, Callable[[PairMetric, Tile], None]]] = [
        (real, None, lambda metric, tile: metric.within(tile, True)),
        (generated, None, lambda metric, tile: metric.within(tile, False)),
        (real, generated, lambda metric, tile: metric.between(tile)),
    ]
    for x, y, read in passes:
        for tile in tiles(x, y):
            for metric in metrics:
                read(metric, tile)
    return {name: value for metric in metrics for name, value in metric.finish().items()}
