"""DPM-Solver++(2M)."""

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


class DPMSolver(Solver):
    """DPM-Solver++(2M), two-step in λ = ln α/σ on the predicted data (arXiv 2211.01095, Algorithm 2).

    x_s = (σ_s/σ_t) x + α_s (1 − e^{−h}) D, where h = λ_s − λ_t and D extrapolates the last two predictions to the
    middle of the step. The first step, which has one prediction only, a step from α = 0, which is infinitely long, and
    a step to zero noise are of first order; the last of these returns the predicted data.
    """

    order: ClassVar[int] = 2

    def solve(self, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        before: Tensor | None = None
        length_before = math.inf
        for interval in intervals(schedule, times, x):
            now, after = interval.now, interval.after
            data = predict(x, now.t).data
            # e^{−h} is the ratio of the noise levels: 0 from α = 0 and to σ = 0.
            ratio = after.noise_level / now.noise_level
            length = -math.log(ratio) if ratio > 0 else math.inf
            middle = data
            if before is not None and math.isfinite(length) and math.isfinite(length_before):
                middle = data + length / (2 * length_before) * (data - before)
            x = after.sigma / now.sigma * x + after.alpha * (1 - ratio) * middle
            before, length_before = data, length
            yield interval.draft(x, data)
