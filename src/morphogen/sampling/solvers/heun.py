"""Heun's method in the angle of data and noise, with the churn of EDM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from .base import Instant, Solver, instant, legs

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict, Prediction
    from ...core.noise import Noise
    from ..path import Path


class Heun(Solver):
    """Heun's method: a trial step, then a step with the mean of both velocities (arXiv 2206.00364, Algorithms 1 and 2).

    It integrates u = x/√(α² + σ²) in φ = arctan σ/α, where every path is the same circle du/dφ = cos φ noise − sin φ
    data. EDM's own variables, x/α in σ/α, are infinite at α = 0, where the straight and the cosine path begin; a
    path's own t has an infinite rate at the data end of `ddpm`. φ is finite and smooth at both ends. The trial step is
    DDIM's and the weight of the two velocities is tan(Δφ/2) instead of Δφ/2: so a step is exact for a point of data, as
    EDM's is, and also for data of unit variance, as EDM's is not. The last step, where the noise vanishes, is the
    predicted data: one evaluation less, and none at σ = 0.
    """

    order: ClassVar[int] = 2
    evaluations_per_step: ClassVar[int] = 2

    churn: float = Field(0.0, ge=0, description="fresh noise over all steps (EDM's S_churn); 0 is deterministic")

    def solve(self, path: Path, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for leg in legs(path, times, x):
            now, after = leg.now, leg.after
            if self.churn > 0:
                fresh = noise.normal("churn", tuple(x.shape[1:]), at=leg.step).to(x)
                x, now = self._raise(path, x, now, fresh, steps=len(times) - 1)
            first = predict(x, now.t)
            moved = after.alpha * first.data + after.sigma * first.noise
            if after.sigma > 0:
                second = predict(moved, after.t)
                turn = math.tan((after.angle - now.angle) / 2)
                moved = x / now.radius + turn * (_velocity(first, now) + _velocity(second, after))
                moved = after.radius * moved
            x = moved
            yield leg.draft(x, first.data)

    def _raise(self, path: Path, x: Tensor, now: Instant, fresh: Tensor, steps: int) -> tuple[Tensor, Instant]:
        # Lines 4 to 6 of Algorithm 2 on x/α, whose noise level is σ/α: raised at constant data, then scaled to the
        # path. From α = 0, and above the path's start, there is nothing to raise.
        level, most = now.noise_level, instant(path, path.start, x).noise_level
        raised = min(level * (1 + min(self.churn / steps, math.sqrt(2) - 1)), most)
        if not level < raised < math.inf:
            return x, now
        up = instant(path, path.time(now.exact.new_tensor(raised)).item(), x)
        return up.alpha * (x / now.alpha + math.sqrt(up.noise_level**2 - level**2) * fresh), up


def _velocity(prediction: Prediction, at: Instant) -> Tensor:
    return (at.alpha * prediction.noise - at.sigma * prediction.data) / at.radius
