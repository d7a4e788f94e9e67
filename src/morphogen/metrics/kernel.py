"""The kernel distance: the squared maximum mean discrepancy of a cubic kernel (Bińkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ._pairs import PairMetric, Tile, compute_together, map_blocks, view_as
from .base import FigureInfo, checked, require_items
from .statistics.order import digests

_MOST = 20_000  # items of a side: time grows with their square
_LEAST = 10


class Kernel(PairMetric):
    """`kernel`: the mean over subsets of the unbiased estimate with (xᵀy / d + 1)³; may be slightly negative.

    Its expectation does not depend on the number of samples. At most 20,000 items a side are read, in 100 subsets of
    1,000 or of all.
    """

    figures: ClassVar = {
        "kernel": FigureInfo(
            name="KD",
            meaning="Kernel distance: as the Fréchet distance, by a cubic kernel; it does not depend on the number of "
            "items.",
            ideal=0.0,
            published={"inception-2015": "KID"},
        )
    }
    position: ClassVar[int] = 3

    def __init__(self, subsets: int = 100, size: int = 1000, seed: int = 0, most: int = _MOST) -> None:
        super().__init__(most)
        self.subsets, self.size, self.seed = subsets, size, seed
        self._chosen: tuple[Tensor, Tensor] | None = None
        self._buffer = torch.empty(0)

    @classmethod
    def min_items(cls, dimensions: int) -> int:
        return _LEAST

    def start(self, real: Tensor, generated: Tensor, centre: Tensor) -> None:
        require_items("the kernel distance", _LEAST, len(real), len(generated))
        self._width = real.shape[1]
        # Features are centred, z = x - c: xᵀy / d + 1 = zₓᵀz_y / d + offset(x) + offset(y).
        projections = [map_blocks(x, lambda block: block.double() @ centre / self._width) for x in (real, generated)]
        half = (float(centre @ centre) / self._width + 1) / 2
        self._offsets = {side: (x + half).to(real.dtype) for side, x in zip((True, False), projections, strict=True)}
        size = min(self.size, len(real), len(generated))
        random = torch.Generator().manual_seed(self.seed)
        if self._chosen is None:
            count = self.subsets if size < max(len(real), len(generated)) else 1  # both whole: one subset
            picked = [
                [torch.randperm(len(x), generator=random)[:size] for x in (real, generated)] for _ in range(count)
            ]
            real_ones, generated_ones = zip(*picked, strict=True)
            chosen = _members(real_ones, len(real)), _members(generated_ones, len(generated))
        else:
            chosen = self._chosen
        self._members = dict(zip((True, False), chosen, strict=True))
        self._sums = {side: torch.zeros(chosen[0].shape[1], dtype=torch.float64) for side in (True, False)}
        self._cross_sums = torch.zeros_like(self._sums[True])

    def within(self, tile: Tile, real: bool) -> None:
        values, members = self._values(tile, real, real), self._members[real]
        if tile.rows == tile.columns:
            values.diagonal().zero_()
            count = 1.0
        else:
            count = 2.0  # the block below the diagonal is its transpose
        self._sums[real] += count * _total(values, members[tile.rows], members[tile.columns])

    def between(self, tile: Tile) -> None:
        left, right = self._members[True][tile.rows], self._members[False][tile.columns]
        self._cross_sums += _total(self._values(tile, True, False), left, right)

    def finish(self) -> dict[str, float]:
        return {"kernel": float(self.of_each_subset().mean())}

    def of_each_subset(self) -> Tensor:
        """Return the estimates, `(subsets,)`, after all blocks."""
        m, n = (self._members[side].sum(0) for side in (True, False))
        return self._sums[True] / (m * (m - 1)) + self._sums[False] / (n * (n - 1)) - 2 * self._cross_sums / (m * n)

    def _values(self, tile: Tile, left: bool, right: bool) -> Tensor:
        if len(self._buffer) < 2 * tile.product.numel() or self._buffer.dtype != tile.product.dtype:
            self._buffer = tile.product.new_empty(2 * tile.product.numel())
        one, two = (view_as(part, tile.product) for part in self._buffer.chunk(2))
        base = torch.add(self._offsets[left][tile.rows, None], self._offsets[right][tile.columns], out=one)
        base.add_(tile.product, alpha=1 / self._width)
        return torch.mul(base, base, out=two).mul_(base)


def on_subsets(real: Tensor, generated: Tensor, indices: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Tensor:
    """Return the estimate on each pair of subsets of `(N, d)` and `(M, d)`, by their indices: `(len(indices),)`.

    It serves comparisons with other implementations on the same subsets; no subset repeats an item.
    """
    a = checked(real)
    b = checked(generated, a.shape[1])
    metric = Kernel(most=max(len(a), len(b)))
    metric.update(a, real=True)
    metric.update(b, real=False)
    # The metric holds its items in an order of its own.
    places = [np.argsort(np.argsort(digests(x), kind="stable")) for x in (a, b)]
    metric._chosen = (
        _members([places[0][np.asarray(one)] for one, _ in indices], len(a)),
        _members([places[1][np.asarray(other)] for _, other in indices], len(b)),
    )
    compute_together([metric])
    return metric.of_each_subset()


def _members(subsets: Sequence[Tensor | np.ndarray], count: int) -> Tensor:
    """Return the membership matrix, `(count, subsets)`: 1 where an item is in a subset."""
    members = torch.zeros(count, len(subsets), dtype=torch.float64)
    for column, subset in enumerate(subsets):
        members[torch.as_tensor(subset), column] = 1
    return members


def _total(values: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return the sum over the pairs inside each subset, `(subsets,)`."""
    return (left * (values @ right.to(values.dtype))).sum(0)
