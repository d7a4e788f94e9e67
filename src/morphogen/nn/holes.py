"""Random sets of known cells, for training a model to fill in the rest; and holes patched up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_POOL: dict[int, Any] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def patched(x: Tensor, known: Tensor) -> Tensor:
    """`(B, channels, *size)`, its unknown cells made up from the known ones: smooth, and a mean where none is near.

    By averages over ever larger cells and back (the pull-push algorithm, Gortler et al. 1996).
    """
    size = x.shape[2:]
    weight = known.expand(len(x), 1, *size).to(x.dtype)
    if max(size) == 1 or bool(known.all()):
        return x * weight
    half = [-(-length // 2) for length in size]
    pool = _POOL[len(size)]
    share = pool(weight, half)
    coarse = patched(pool(x * weight, half) / share.clamp(min=1e-6), share > 0)
    return torch.where(known, x, F.interpolate(coarse, size=size, mode="nearest"))


def random_known(count: int, size: Sequence[int], share: float, device: torch.device) -> Tensor:
    """Bool `(count, *size)`: what a model in training is told; no cell for an item with probability 1 - `share`.

    Else one of three in turn, as users punch holes: each cell with a probability that is uniform itself, all but a box,
    or a box alone. A box has sides uniform in length and place.
    """
    shape = (count, *[1] * len(size))
    cells = torch.rand(count, *size, device=device) < torch.rand(shape, device=device)
    inside = torch.ones(count, *size, dtype=torch.bool, device=device)
    for axis, length in enumerate(size):
        at = torch.arange(length, device=device).reshape([-1 if other == axis else 1 for other in range(len(size))])
        span = 1 + torch.rand(shape, device=device) * length
        low = torch.rand(shape, device=device) * (length + 1 - span).clamp(min=0)
        inside &= (at >= low.floor()) & (at < (low + span).floor())
    kind = torch.randint(3, shape, device=device)
    known = torch.where(kind == 0, cells, inside ^ (kind == 1))
    return known & (torch.rand(shape, device=device) < share)
