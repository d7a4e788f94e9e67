"""Euler's method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from .base import Solver, legs

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict
    from ...core.noise import Noise
    from ..path import Path


class Euler(Solver):
    """Euler's method on the probability-flow ODE in the path's own t (arXiv 2011.13456, Eq. 13; 2210.02747).

    The step on which the noise vanishes is the predicted data: on straight paths (`straight`, `edm`) that is Euler's
    step, on the others Euler would leave a share of the noise, half of it where dσ/dt is infinite (`ddpm`).
    """

    order: ClassVar[int] = 1

    def solve(self, path: Path, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        for leg in legs(path, times, x):
            now, after = leg.now, leg.after
            prediction = predict(x, now.t)
            if after.sigma > 0:
                alpha_rate, sigma_rate = path.alpha_rate(now.exact).item(), path.sigma_rate(now.exact).item()
                velocity = alpha_rate * prediction.data + sigma_rate * prediction.noise
                x = x + (after.time - now.time) * velocity
            else:
                x = after.alpha * prediction.data
            yield leg.draft(x, prediction.data)
