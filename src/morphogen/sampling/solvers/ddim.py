"""Denoising diffusion implicit models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from .base import Solver, intervals

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict
    from ...core.noise import Noise
    from ..schedule import Schedule


class DDIM(Solver):
    """Moves the predicted data and noise to the next time: x_s = α_s data + σ_s noise (arXiv 2010.02502, Eq. 12).

    Exact where the prediction is constant over the step. With `eta` > 0 part of the noise is new, with standard
    deviation η σ_s √(1 − ρ²) where ρ is the ratio of the noise levels: Eq. 16 for any schedule; 1 gives DDPM's.
    """

    order: ClassVar[int] = 1

    eta: float = Field(0.0, ge=0, le=1, description="Share of new noise in each step: 0 is deterministic, 1 is DDPM's.")

    def solve(self, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for interval in intervals(schedule, times, x):
            now, after = interval.now, interval.after
            prediction = predict(x, now.t)
            share = self.eta * math.sqrt(max(0.0, 1 - (after.noise_level / now.noise_level) ** 2))
            x = after.alpha * prediction.data + after.sigma * math.sqrt(1 - share**2) * prediction.noise
            if share * after.sigma > 0:
                x = x + after.sigma * share * noise.normal("ddim", tuple(x.shape[1:]), at=interval.step).to(x)
            yield interval.draft(x, prediction.data)
