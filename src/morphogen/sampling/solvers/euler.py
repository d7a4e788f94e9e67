"""Euler's method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from .base import Solver, intervals

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict
    from ...core.noise import Noise
    from ..schedule import Schedule


class Euler(Solver):
    """Euler's method on the probability-flow ODE in the schedule's own t (arXiv 2011.13456, Eq. 13; 2210.02747).

    The step to zero noise returns the predicted data. Where α and σ are linear in t (`linear`, `edm`) that is Euler's
    step; elsewhere Euler would leave some of the noise, half of it where dσ/dt is infinite (`ddpm`).
    """

    order: ClassVar[int] = 1

    def solve(self, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for interval in intervals(schedule, times, x):
            now, after = interval.now, interval.after
            prediction = predict(x, now.t)
            if after.sigma > 0:
                alpha_rate, sigma_rate = schedule.alpha_rate(now.exact).item(), schedule.sigma_rate(now.exact).item()
                velocity = alpha_rate * prediction.data + sigma_rate * prediction.noise
                x = x + (after.time - now.time) * velocity
            else:
                x = after.alpha * prediction.data
            yield interval.draft(x, prediction.data)
