"""Where a cell of a grid stands, as a vector that is learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Places(nn.Module):
    """A learned vector of each cell of a grid: the sum of one for each coordinate."""

    def __init__(self, size: Sequence[int], width: int) -> None:
        super().__init__()
        self.size = tuple(size)
        self.along = nn.ParameterList(
            0.02 * torch.randn(length, *[1] * later, width)
            for length, later in zip(self.size, reversed(range(len(self.size))), strict=True)
        )

    def forward(self) -> Tensor:
        """`(L, width)`, in raster order."""
        total = self.along[0]
        for table in self.along[1:]:
            total = total + table
        return total.expand(*self.size, -1).flatten(0, -2)
