"""Multi-scale structural similarity of pictures (Wang, Simoncelli & Bovik 2003)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.errors import UserError

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # table 1 of the paper, the finest scale first
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_PAIRS, _LEAST = 1000, 10  # pairs, and pictures
_VALUES = 1 << 21  # most values of the pictures that are compared at once


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return MS-SSIM of pairs of pictures `(B, C, H, W)` in [0, 1], `(B,)`; 1 where they are equal.

    At five scales, or as many as the window of 11 pixels fits into, with renormalised weights; for smaller pictures the
    window shrinks. Negative structure counts as 0.
    """
    side = min(x.shape[-2:])
    window = min(_WINDOW, side - 1 + side % 2)  # odd
    scales = 1
    while scales < len(_WEIGHTS) and side // 2**scales >= window:
        scales += 1
    weights = torch.tensor(_WEIGHTS[:scales], dtype=x.dtype)
    weights /= weights.sum()
    whole = torch.ones(len(x), dtype=x.dtype)
    for scale, weight in enumerate(weights):
        similar, structure = _similarity(x, y, window)
        last = scale == scales - 1
        whole = whole * (similar if last else structure).clamp(min=0) ** weight
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return whole


def _similarity(x: Tensor, y: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return SSIM and its contrast-structure term, each a mean over pixels and channels."""
    taps = torch.exp(-((torch.arange(window, dtype=x.dtype) - window // 2) ** 2) / (2 * _SIGMA**2))
    taps /= taps.sum()
    channels = x.shape[1]

    def blurred(z: Tensor) -> Tensor:
        down = F.conv2d(z, taps.reshape(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
        return F.conv2d(down, taps.reshape(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)

    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return (luminance * structure).mean((1, 2, 3)), structure.mean((1, 2, 3))


def mean_similarity(x: Tensor, *, pairs: int = _PAIRS, seed: int = 0) -> tuple[float, float]:
    """Return the mean MS-SSIM of random pairs of pictures `(N, C, H, W)`, and its standard error.

    Raises UserError with fewer than 10 pictures.
    """
    if len(x) < _LEAST:
        raise UserError(f"MS-SSIM needs at least {_LEAST} pictures; found {len(x)}")
    random = torch.Generator().manual_seed(seed)
    first = torch.randint(len(x), (pairs,), generator=random)
    second = (first + torch.randint(1, len(x), (pairs,), generator=random)) % len(x)
    few = max(1, min(100, _VALUES // x[0].numel()))
    parts = zip(first.split(few), second.split(few), strict=True)
    values = torch.cat([ms_ssim(x[a].double(), x[b].double()) for a, b in parts])
    # Pairs share pictures, so the effective sample size is at most the number of disjoint pairs.
    return float(values.mean()), float(values.std()) / min(pairs, len(x) / 2) ** 0.5
