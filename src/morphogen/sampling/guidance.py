"""Guidance: one prediction pushed away from a weaker one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.model import Predict, Prediction
    from .path import Path


def classifier_free(
    conditional: Predict,
    unconditional: Predict,
    *,
    scale: float,
    path: Path,
    interval: tuple[float, float] = (0.0, math.inf),
) -> Predict:
    """Classifier-free guidance: ε = ε_u + scale (ε_c − ε_u) (Ho & Salimans, arXiv 2207.12598, with scale = 1 + w).

    `scale` 1 is no guidance, and 0 the unconditional prediction. Only noise levels in (low, high] of `interval` are
    guided (Kynkäänniemi et al., arXiv 2404.07724); where no sample is, the unconditional one is not evaluated, nor
    ever at scale 1. The data are combined as the noise is: the weights sum to 1, so both still make up x.

    Two functions instead of one doubled batch: any two predictions serve, of a negative condition or of a weaker model
    as well, nobody needs to know how a null is written into a batch, and inside and outside the interval the batch has
    the same shape, so that a compiled network is compiled once. Half the memory; the price is twice the launches.
    """
    if scale == 1:
        return conditional
    low, high = interval

    def predict(x: Tensor, t: Tensor) -> Prediction:
        from ..core.model import Prediction

        strong = conditional(x, t)
        level = path.noise_level(t)
        inside = (level > low) & (level <= high)
        if not inside.any():
            return strong
        weak = unconditional(x, t)
        # Guided and unguided samples may share a batch, where t is per sample.
        weight = inside * (scale - 1) + 1.0
        return Prediction(
            weak.data + (weight * (strong.data - weak.data)).to(strong.data.dtype),
            weak.noise + (weight * (strong.noise - weak.noise)).to(strong.noise.dtype),
        )

    return predict
