"""Which cells of rows are masked in training and for the bound, and which may see each other."""

from __future__ import annotations

import torch
from torch import Tensor


def per_item(what: Tensor, item: Tensor) -> Tensor:
    """How many of the cells that are so each item of a row has, int64 `(B, n + 1)`."""
    counts = torch.zeros(len(item), item.shape[1] + 1, dtype=torch.int64, device=item.device)
    return counts.scatter_add_(1, item.clamp(min=0), what.long())


def apart(item: Tensor) -> Tensor | None:
    """What a cell may see, bool `(B, 1, n, n)`: those of its own item; None, where that is the whole row."""
    if bool((item == item[:, :1]).all()):
        return None
    return (item[:, :, None] == item[:, None, :]).unsqueeze(1)


def chosen(item: Tensor, modelled: Tensor, t: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Which cells of rows are masked, bool `(B, n)`, and the weight of each in the bound; README, equation 2.

    Of the n modelled cells of an item ⌊t n⌋ + 1 are, those with the lowest `uniform` `(B, n)`. t in [0, 1) is that of
    the item each cell is of; items follow each other.
    """
    size = per_item(modelled, item)
    before = (size.cumsum(1) - size).gather(1, item.clamp(min=0))
    size = size.gather(1, item.clamp(min=0))
    key = (item + uniform.double()).masked_fill(~modelled, torch.inf)
    rank = key.argsort(1).argsort(1) - before
    count = ((t * size).floor() + 1).minimum(size.double()).clamp(min=1)
    return modelled & (rank < count), (size / count).float()
