"""Rows of features that a metric has to hold, and what it reads of pairs of them, without all pairs in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .base import Metric, checked

_TILE = 2048  # rows and columns of a block of pairs: N x N never lives in memory
_ODD = 0x9E3779B97F4A7C15


def digests(x: Tensor) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """A number for each row that its bits settle, `(N,)`: an order that does not depend on how rows came in."""
    bits = np.ascontiguousarray(x.numpy()).view(np.uint64)
    factors = np.random.default_rng(0).integers(0, 2**63, bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = bits ^ (bits >> np.uint64(32))
    total = (mixed * factors).sum(axis=1, dtype=np.uint64)
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
        """Rows `(N, d)`, float64."""
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
        x = checked(features, width)
        if len(x):
            self.rows[real].add(x)

    def merge(self, other: Self) -> None:
        for side, rows in other.rows.items():
            self.rows[side].merge(rows)

    def sides(self) -> tuple[Tensor, Tensor]:
        """The real and the generated rows held, `(N, d)` and `(M, d)`."""
        return self.rows[True].get(), self.rows[False].get()


class Tile:
    """A block of pairs: which rows and columns, and the products of their centred features."""

    def __init__(self, rows: slice, columns: slice, product: Tensor, centred: Sequence[Tensor], centre: Tensor) -> None:
        self.rows, self.columns, self.product = rows, columns, product
        self._x, self._y, self._centre = centred[0][rows], centred[1][columns], centre
        self._distances: Tensor | None = None

    def distances(self) -> Tensor:
        """The squared distances. Read only: others read them, too."""
        if self._distances is None:
            norms = self._x.square().sum(1)[:, None] + self._y.square().sum(1)
            self._distances = norms.sub_(self.product, alpha=2).clamp_(min=0)
        return self._distances

    def inner(self) -> Tensor:
        """The products of the features as they are, a fresh tensor."""
        left = self._x @ self._centre + self._centre @ self._centre
        return (self.product + left[:, None]).add_(self._y @ self._centre)


def tiles(x: Tensor, y: Tensor | None, centre: Tensor) -> Iterator[Tile]:
    """Blocks of all pairs of rows of `x` and `y`; of `x` with itself (None) only those on and above the diagonal.

    Distances by a matrix product lose what the origin is far away, so products are of rows less the `centre`.
    """
    a = x - centre
    b = a if y is None else y - centre
    for start in range(0, len(a), _TILE):
        rows = slice(start, min(start + _TILE, len(a)))
        for at in range(start if y is None else 0, len(b), _TILE):
            columns = slice(at, min(at + _TILE, len(b)))
            yield Tile(rows, columns, a[rows] @ b[columns].T, (a, b), centre)


class PairMetric(RowMetric):
    """A metric of pairs of rows. Several of them read the same blocks, see `together`."""

    def start(self, real: Tensor, generated: Tensor, slack: float) -> None:
        """Before any block; `slack` is what rounding may do to a squared distance. Raises UserError on too few rows."""

    def within(self, tile: Tile, real: bool) -> None:
        """A block of pairs of one side, on or above the diagonal."""

    def between(self, tile: Tile) -> None:
        """A block of pairs of a real (row) and a generated (column) item, after all those within the sides."""

    def finish(self) -> dict[str, float]:
        """The figures, after all blocks."""
        raise NotImplementedError

    def compute(self) -> dict[str, float]:
        return together([self])


def together(metrics: Sequence[PairMetric]) -> dict[str, float]:
    """The figures of several metrics that hold the same rows, which computes the products of pairs only once."""
    real, generated = metrics[0].sides()
    for other in metrics[1:]:
        if not all(torch.equal(one, two) for one, two in zip((real, generated), other.sides(), strict=True)):
            raise ValueError("metrics that are computed together must hold the same rows")
    centre = real.mean(0) if len(real) else torch.zeros(real.shape[1], dtype=torch.float64)
    # An item on the rim of a ball is inside. The product's rounding must not decide that, above all among copies.
    reach = max((float((x - centre).square().sum(1).max()) for x in (real, generated) if len(x)), default=0.0)
    for metric in metrics:
        metric.start(real, generated, 1e-12 * reach)
    passes: list[tuple[Tensor, Tensor | None, Callable[[PairMetric, Tile], None]]] = [
        (real, None, lambda metric, tile: metric.within(tile, True)),
        (generated, None, lambda metric, tile: metric.within(tile, False)),
        (real, generated, lambda metric, tile: metric.between(tile)),
    ]
    for x, y, read in passes:
        for tile in tiles(x, y, centre):
            for metric in metrics:
                read(metric, tile)
    return {name: value for metric in metrics for name, value in metric.finish().items()}
