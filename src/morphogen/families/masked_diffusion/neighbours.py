"""What stands on either side of each cell, told to it at once: attention takes long to learn to look there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_REACH = 4  # cells on either side


class Neighbours(nn.Module):
    """A linear map of the embeddings around each cell, one matrix for each distance, that starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * _REACH * width, width, bias=False)
        nn.init.zeros_(self.mix.weight)

    def forward(self, cells: Tensor, item: Tensor | None) -> Tensor:
        """Cells `(B, n, width)` to the same; those of another `item` `(B, n)` are nothing (None: all are of one)."""
        around = []
        for distance in (*range(-_REACH, 0), *range(1, _REACH + 1)):
            sides = (max(0, -distance), max(0, distance))
            shifted = _shifted(F.pad(cells, (0, 0, *sides)), distance, cells.shape[1])
            if item is not None:
                same = _shifted(F.pad(item, sides, value=-2), distance, item.shape[1]) == item
                shifted = shifted * same.unsqueeze(-1)
            around.append(shifted)
        mixed: Tensor = self.mix(torch.cat(around, dim=-1))
        return mixed


def _shifted(padded: Tensor, distance: int, count: int) -> Tensor:
    """Of each cell the one at that distance."""
    return padded[:, max(0, distance) :][:, :count]
