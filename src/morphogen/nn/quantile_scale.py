"""Ordered cells as quantiles on a normal scale, and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

_UNSEEN = 0.01  # items that a cell without any counts as, so that it has a place on the scale
_EDGE = 1e-6  # of the unit interval: quantiles beyond it would be infinite


class QuantileScale(nn.Module):
    """Where the ordered cells of several fields lie between 0 and 1, by how many training items are in each.

    Before `fit` every cell of a field is as likely as any other.
    """

    cumulative: Tensor
    first: Tensor

    def __init__(self, sizes: Sequence[int]) -> None:
        """`sizes` are the numbers of ordered cells of the fields."""
        super().__init__()
        self.sizes = list(sizes)
        # A field of n cells has n + 1 edges, which follow each other in `cumulative`.
        edges = [size + 1 for size in self.sizes]
        self.register_buffer("first", torch.tensor([0, *accumulate(edges)][:-1], dtype=torch.int64), persistent=False)
        self.register_buffer("cumulative", torch.zeros(sum(edges), dtype=torch.float64))
        self.fit([torch.ones(size) for size in self.sizes])

    @torch.no_grad()
    def fit(self, counts: Sequence[Tensor]) -> None:
        """Set the scale by `counts`: of each field the items in each of its ordered cells, rising, `(size,)`."""
        for edges, count in zip(self._edges(), counts, strict=True):
            mass = count.double() + _UNSEEN
            edges[1:] = (mass / mass.sum()).cumsum(0)

    def normal(self, cell: Tensor, inside: Tensor) -> Tensor:
        """Return standard normal values, float32, of cells int64 `(B, fields)` at `inside` in [0, 1) of each cell."""
        edge = cell + self.first
        low, high = self.cumulative[edge], self.cumulative[edge + 1]
        quantile = (low + inside.double() * (high - low)).clamp(_EDGE, 1 - _EDGE)
        return torch.special.ndtri(quantile).float()

    def cell(self, value: Tensor) -> Tensor:
        """Return the cells, int64 `(B, fields)`, that standard normal values `(B, fields)` lie in."""
        quantile = torch.special.ndtr(value.double())
        cells = torch.zeros_like(quantile, dtype=torch.int64)
        for field, (edges, size) in enumerate(zip(self._edges(), self.sizes, strict=True)):
            cell = torch.searchsorted(edges, quantile[:, field].contiguous(), right=True) - 1
            cells[:, field] = cell.clamp(0, size - 1)
        return cells

    def _edges(self) -> Sequence[Tensor]:
        """Return the edges of the cells of each field, as views."""
        return self.cumulative.split([size + 1 for size in self.sizes])
