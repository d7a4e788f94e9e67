"""Random masks for training a model to inpaint, and a smooth fill of unknown cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_POOL: dict[int, Any] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def patched(x: Tensor, known: Tensor) -> Tensor:
    """Return x `(B, channels, *size)` with its unknown cells interpolated from the known ones; 0 where none is known.

    By averages over coarser and coarser grids and back: the pull-push algorithm (Gortler et al. 1996).
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


def random_known(count: int, size: Sequence[int], probability: float, device: torch.device) -> Tensor:
    """Return which cells of `count` training items are known, bool `(count, *size)`.

    With `probability` an item has known cells, and then in one of three ways, as users draw masks: each cell by itself,
    with a share uniform in [0, 1]; all but a box; or a box alone. A box is uniform in length and place.
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
    return known & (torch.rand(shape, device=device) < probability)
