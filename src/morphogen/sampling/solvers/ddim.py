"""Denoising diffusion implicit models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from .base import Solver, legs

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict
    from ...core.noise import Noise
    from ..path import Path


class DDIM(Solver):
    """Moves the predicted data and noise to the next time: x_s = α_s data + σ_s noise (arXiv 2010.02502, Eq. 12).

    Exact where the prediction does not change on the way. With `eta` a share of the noise is drawn afresh, of standard
    deviation η σ_s √(1 − ρ²) with ρ the ratio of the noise levels: Eq. 16 for any path, at 1 that of DDPM.
    """

    order: ClassVar[int] = 1

    eta: float = Field(0.0, ge=0, le=1, description="share of fresh noise: 0 is deterministic, 1 that of DDPM")

    def solve(self, path: Path, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for leg in legs(path, times, x):
            now, after = leg.now, leg.after
            prediction = predict(x, now.t)
            fresh = self.eta * math.sqrt(max(0.0, 1 - (after.noise_level / now.noise_level) ** 2))
            x = after.alpha * prediction.data + after.sigma * math.sqrt(1 - fresh**2) * prediction.noise
            if fresh * after.sigma > 0:
                x = x + after.sigma * fresh * noise.normal("ddim", tuple(x.shape[1:]), at=leg.step).to(x)
            yield leg.draft(x, prediction.data)
