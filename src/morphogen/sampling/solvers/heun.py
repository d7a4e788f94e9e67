"""Heun's method in the angle of data and noise, with the churn of EDM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from .base import Node, Solver, intervals, node

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict, Prediction
    from ...core.noise import Noise
    from ..schedule import Schedule


class Heun(Solver):
    """Heun's method: a trial step, then a step with the mean of both velocities (arXiv 2206.00364, Algorithms 1 and 2).

    Integrates u = x/√(α² + σ²) in φ = arctan σ/α, where every schedule is the same circle du/dφ = cos φ noise − sin φ
    data. EDM's own variables, x/α in σ/α, are infinite at α = 0, where `linear` and `cosine` start, and the t of `ddpm`
    has an infinite rate at the data; φ is finite and smooth at both ends. The trial step is DDIM's, and the two
    velocities are weighted by tan(Δφ/2) instead of Δφ/2. So a step is exact for data that are a single point, as EDM's
    is, and also for data of unit variance, for which EDM's is not. The step to zero noise returns the predicted data:
    it needs one evaluation only, and none at σ = 0.
    """

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 2

    churn: float = Field(0.0, ge=0, description="New noise over all steps (EDM's S_churn); 0 is deterministic.")

    def solve(self, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for interval in intervals(schedule, times, x):
            now, after = interval.now, interval.after
            if self.churn > 0:
                new = noise.normal("churn", tuple(x.shape[1:]), at=interval.step).to(x)
                x, now = self._add_noise(schedule, x, now, new, steps=len(times) - 1)
            first = predict(x, now.t)
            moved = after.alpha * first.data + after.sigma * first.noise
            if after.sigma > 0:
                second = predict(moved, after.t)
                turn = math.tan((after.angle - now.angle) / 2)
                moved = x / now.radius + turn * (_velocity(first, now) + _velocity(second, after))
                moved = after.radius * moved
            x = moved
            yield interval.draft(x, first.data)

    def _add_noise(self, schedule: Schedule, x: Tensor, now: Node, new: Tensor, steps: int) -> tuple[Tensor, Node]:
        # Lines 4 to 6 of Algorithm 2 on x/α, whose noise level is σ/α: raised at constant data, then scaled by α. At
        # α = 0, and above the noise level of the schedule's start, it is not raised.
        level, highest = now.noise_level, node(schedule, schedule.start, x).noise_level
        target = min(level * (1 + min(self.churn / steps, math.sqrt(2) - 1)), highest)
        if not level < target < math.inf:
            return x, now
        up = node(schedule, schedule.time(now.exact.new_tensor(target)).item(), x)
        return up.alpha * (x / now.alpha + math.sqrt(up.noise_level**2 - level**2) * new), up


def _velocity(prediction: Prediction, at: Node) -> Tensor:
    return (at.alpha * prediction.noise - at.sigma * prediction.data) / at.radius
