"""Metrics of pairs of feature vectors, which share the products of pairs and never hold all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ._reservoir import SampledMetric

_TILE = 1024  # rows and columns of a block of pairs: N x N never lives in memory
_BLOCK = 256  # vectors that are processed together: they stay in the cache


class Tile:
    """A block of the matrix of pairs: its rows and columns, and the products of centred features."""

    def __init__(self, rows: slice, columns: slice, product: Tensor, norms: Sequence[Tensor], buffer: Tensor) -> None:
        self.rows, self.columns, self.product = rows, columns, product
        self._norms, self._buffer = (norms[0][rows], norms[1][columns]), buffer
        self._distances: Tensor | None = None

    def distances(self) -> Tensor:
        """Return the squared distances; rounding may leave them below 0. Shared between metrics: do not write to it."""
        if self._distances is None:
            sums = torch.add(self._norms[0][:, None], self._norms[1], out=view_as(self._buffer, self.product))
            self._distances = sums.sub_(self.product, alpha=2)
        return self._distances


def map_blocks(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to blocks of the vectors of `x` `(N, d)`, so that no temporary is as large as `x`."""
    return torch.cat([function(block) for block in x.split(_BLOCK)])


def view_as(buffer: Tensor, x: Tensor) -> Tensor:
    """Return a view of `buffer` in the shape of `x`: allocating each block anew costs a tenth of the time."""
    return buffer[: x.numel()].view(x.shape)


def tiles(x: Tensor, y: Tensor | None) -> Iterator[Tile]:
    """Yield blocks of all pairs of vectors of `x` and `y`; of `x` with itself (None) only the upper triangle."""
    other = x if y is None else y
    norms = [map_blocks(one, lambda block: torch.linalg.vecdot(block, block)) for one in (x, other)]
    products, distances = x.new_empty(2, _TILE * _TILE).unbind()
    for start in range(0, len(x), _TILE):
        rows = slice(start, min(start + _TILE, len(x)))
        for first in range(start if y is None else 0, len(other), _TILE):
            columns = slice(first, min(first + _TILE, len(other)))
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            product = torch.mm(x[rows], other[columns].T, out=products[: shape[0] * shape[1]].view(shape))
            yield Tile(rows, columns, product, norms, distances)


class PairMetric(SampledMetric):
    """A metric of pairs of feature vectors. Several of them read the same blocks, see `compute_together`."""

    @abstractmethod
    def start(self, real: Tensor, generated: Tensor, centre: Tensor) -> None:
        """Begin with features from which their `centre` is subtracted. Raises UserError on too few."""

    @abstractmethod
    def within(self, tile: Tile, real: bool) -> None:
        """Read a block of pairs of one side, on or above the diagonal."""

    @abstractmethod
    def between(self, tile: Tile) -> None:
        """Read a block of pairs of a real (row) and a generated (column) item, after all blocks within the sides."""

    @abstractmethod
    def finish(self) -> dict[str, float]:
        """Return the figures, after all blocks."""

    def compute(self) -> dict[str, float]:
        return compute_together([self])


def share_features(*metrics: PairMetric) -> tuple[PairMetric, ...]:
    """Let all metrics hold the features of the first, which alone has to be updated."""
    for other in metrics[1:]:
        other.reservoirs = metrics[0].reservoirs
    return metrics


def compute_together(metrics: Sequence[PairMetric]) -> dict[str, float]:
    """Return the figures of several metrics that hold the same features; the products of pairs are computed once."""
    real, generated = metrics[0].samples()
    for other in metrics[1:]:
        if other.reservoirs is not metrics[0].reservoirs and not all(
            torch.equal(one, two) for one, two in zip((real, generated), other.samples(), strict=True)
        ):
            raise ValueError("metrics that are computed together must hold the same features")
    # Distances by a matrix product lose precision where the origin is far away.
    centre = real.double().mean(0) if len(real) else torch.zeros(real.shape[1], dtype=torch.float64)
    real, generated = (
        map_blocks(x, lambda block: (block.double() - centre).to(block.dtype)) for x in (real, generated)
    )
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
