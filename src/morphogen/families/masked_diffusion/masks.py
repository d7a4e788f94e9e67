"""Which tokens of sequences are masked in training and for the bound, and which may see each other."""

from __future__ import annotations

import torch
from torch import Tensor


def count_per_item(mask: Tensor, item: Tensor) -> Tensor:
    """Return how many tokens of each item of a sequence are in the mask, int64 `(B, n + 1)`."""
    counts = torch.zeros(len(item), item.shape[1] + 1, dtype=torch.int64, device=item.device)
    return counts.scatter_add_(1, item.clamp(min=0), mask.long())


def attention_mask(item: Tensor) -> Tensor | None:
    """Return a mask by which tokens see those of their own item, bool `(B, 1, n, n)`; None: a sequence is one item."""
    if bool((item == item[:, :1]).all()):
        return None
    return (item[:, :, None] == item[:, None, :]).unsqueeze(1)


def random_mask(item: Tensor, modelled: Tensor, t: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Return which tokens are masked, bool `(B, n)`, and the weight of each in the bound; README, equation 2.

    Of the n modelled tokens of an item ⌊t n⌋ + 1 are masked, those with the lowest `uniform` `(B, n)`. t in [0, 1) is
    that of each token's item; items of a sequence follow each other.
    """
    size = count_per_item(modelled, item)
    before = (size.cumsum(1) - size).gather(1, item.clamp(min=0))
    size = size.gather(1, item.clamp(min=0))
    key = (item + uniform.double()).masked_fill(~modelled, torch.inf)
    rank = key.argsort(1).argsort(1) - before
    count = ((t * size).floor() + 1).minimum(size.double()).clamp(min=1)
    return modelled & (rank < count), (size / count).float()
