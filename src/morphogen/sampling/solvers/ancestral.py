"""Ancestral sampling, the sampler of DDPM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from .base import Solver, intervals

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict
    from ...core.noise import Noise
    from ..schedule import Schedule


class Ancestral(Solver):
    """Samples each x_s from the posterior q(x_s | x_t, data) at the predicted data (arXiv 2006.11239, Eq. 6 and 7).

    For any schedule, with ρ the ratio of the noise levels at s and t: the mean is
    α_s (1 − ρ²) data + (α_s/α_t) ρ² x_t and the standard deviation σ_s √(1 − ρ²), the paper's β̃. Stochastic: the
    variance of the samples is exact in the limit of many steps.
    """

    order: ClassVar[int] = 0

    def solve(self, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for interval in intervals(schedule, times, x):
            now, after = interval.now, interval.after
            data = predict(x, now.t).data
            ratio = after.noise_level / now.noise_level
            # (α_s/α_t) ρ² written as (σ_s/σ_t) ρ, which is finite where α_t = 0.
            x = after.alpha * (1 - ratio**2) * data + after.sigma / now.sigma * ratio * x
            if after.sigma > 0:
                x = x + after.sigma * math.sqrt(1 - ratio**2) * noise.normal(
                    "ancestral", tuple(x.shape[1:]), at=interval.step
                ).to(x)
            yield interval.draft(x, data)
