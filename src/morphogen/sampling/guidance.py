"""Guidance: extrapolation from a weaker prediction through a stronger one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.model import Predict, Prediction
    from .schedule import Schedule


def classifier_free(
    conditional: Predict,
    unconditional: Predict,
    *,
    scale: float,
    schedule: Schedule,
    interval: tuple[float, float] = (0.0, math.inf),
) -> Predict:
    """Return the prediction of classifier-free guidance, ε = ε_u + scale (ε_c − ε_u).

    Ho & Salimans, arXiv 2207.12598, with scale = 1 + w: `scale` 1 is no guidance, and 0 the unconditional prediction.
    Only noise levels in (low, high] of `interval` are guided (Kynkäänniemi et al., arXiv 2404.07724). The unconditional
    prediction is not evaluated where no sample is guided, and never at scale 1. The data are combined in the same way:
    the weights sum to 1, so data and noise still add up to x.

    It takes two functions instead of a doubled batch: so the weaker prediction may be one of a negative condition or of
    a weaker model, no code has to write nulls into a batch, and the batch has the same shape inside and outside the
    interval, so that a compiled network is compiled once. It needs half the memory and twice the kernel launches.
    """
    if scale == 1:
        return conditional
    low, high = interval

    def predict(x: Tensor, t: Tensor) -> Prediction:
        from ..core.model import Prediction

        strong = conditional(x, t)
        level = schedule.noise_level(t)
        inside = (level > low) & (level <= high)
        if not inside.any():
            return strong
        weak = unconditional(x, t)
        # Where t is per sample, guided and unguided samples share a batch.
        weight = inside * (scale - 1) + 1.0
        return Prediction(
            weak.data + (weight * (strong.data - weak.data)).to(strong.data.dtype),
            weak.noise + (weight * (strong.noise - weak.noise)).to(strong.noise.dtype),
        )

    return predict
