"""The tokens around each position, given to the network at its input: attention is slow to learn to look there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_REACH = 4  # positions on either side


class LocalContext(nn.Module):
    """A linear map of the embeddings around each position, one matrix per distance, initialised to zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * _REACH * width, width, bias=False)
        nn.init.zeros_(self.mix.weight)

    def forward(self, embedded: Tensor, item: Tensor | None) -> Tensor:
        """Map `(B, n, width)` to the same shape; positions of another `item` `(B, n)` count as 0 (None: one item)."""
        around = []
        for distance in (*range(-_REACH, 0), *range(1, _REACH + 1)):
            sides = (max(0, -distance), max(0, distance))
            shifted = _shifted(F.pad(embedded, (0, 0, *sides)), distance, embedded.shape[1])
            if item is not None:
                same = _shifted(F.pad(item, sides, value=-2), distance, item.shape[1]) == item
                shifted = shifted * same.unsqueeze(-1)
            around.append(shifted)
        mixed: Tensor = self.mix(torch.cat(around, dim=-1))
        return mixed


def _shifted(padded: Tensor, distance: int, count: int) -> Tensor:
    """Return for each position the one at that distance."""
    return padded[:, max(0, distance) :][:, :count]
