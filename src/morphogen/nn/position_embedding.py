"""Learned position embeddings on grids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class PositionEmbedding(nn.Module):
    """A learned vector for each cell of a grid: the sum of one vector per coordinate."""

    def __init__(self, size: Sequence[int], width: int) -> None:
        super().__init__()
        self.size = tuple(size)
        self.axes = nn.ParameterList(
            0.02 * torch.randn(length, *[1] * later, width)
            for length, later in zip(self.size, reversed(range(len(self.size))), strict=True)
        )

    def forward(self) -> Tensor:
        """Return the embeddings of all cells, `(L, width)`, in raster order."""
        total = self.axes[0]
        for axis in self.axes[1:]:
            total = total + axis
        return total.expand(*self.size, -1).flatten(0, -2)
