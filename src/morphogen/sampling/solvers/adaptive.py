"""An embedded Runge-Kutta method that chooses its own steps, per sample."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ...core.errors import UserError
from .base import Solver, node

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict
    from ...core.noise import Noise
    from ..schedule import Schedule


class Adaptive(Solver):
    """Bogacki and Shampine's third-order method with a second-order error estimate (Appl. Math. Lett. 2, 1989).

    Integrates u = x/√(α² + σ²) in φ = arctan σ/α as `heun` does, from `times[0]` to `times[-1]`, and ignores the times
    between. The step size is per sample, so that a sample is the same alone and in a batch; finished samples do not
    change while others go on. Where the noise vanishes at the end, it stops at the noise level `stop` and returns the
    predicted data, which differ from the ODE's solution by about the square of `stop`. Raises UserError after
    `max_steps`.
    """

    order: ClassVar[int] = 3
    evaluations_per_step: ClassVar[int] = 3
    chooses_steps: ClassVar[bool] = True

    tolerance: float = Field(1e-3, gt=0, description="Error allowed per step, absolute and relative.")
    stop: float = Field(1e-3, gt=0, description="Noise level at which it stops and returns the predicted data.")
    max_steps: int = Field(1000, ge=1, description="Steps after which it fails.")

    def solve(self, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        import torch

        from ...core.model import Partial

        first, final = node(schedule, times[0].item(), x), node(schedule, times[-1].item(), x)
        end = max(final.angle, math.atan(self.stop))
        shape, cells = first.t.shape, tuple(range(1, x.ndim))

        def velocity(u: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
            # Clamped because the cosine of the float next to π/2 may be negative.
            t = torch.where(angle < first.angle, schedule.time(angle.sin() / angle.cos().clamp(min=0)), first.t)
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            radius = torch.hypot(alpha, sigma)
            prediction = predict((u * radius).to(x.dtype), t)
            return (alpha * prediction.noise - sigma * prediction.data) / radius, prediction.data.to(first.t.dtype)

        u = x.to(first.t.dtype) / first.radius
        angle = torch.full_like(first.t, first.angle)
        slope, data = velocity(u, angle)
        step = torch.full_like(angle, (first.angle - end) / 16)
        for _ in range(self.max_steps):
            h = -torch.minimum(step, angle - end)  # 0 where finished
            slope2, _ = velocity(u + h / 2 * slope, angle + h / 2)
            slope3, _ = velocity(u + h * 3 / 4 * slope2, angle + h * 3 / 4)
            moved = u + h * (2 / 9 * slope + 1 / 3 * slope2 + 4 / 9 * slope3)
            slope4, moved_data = velocity(moved, angle + h)
            error = h * (-5 / 72 * slope + 1 / 12 * slope2 + 1 / 9 * slope3 - 1 / 8 * slope4)
            allowed = self.tolerance * (1 + torch.maximum(u.abs(), moved.abs()))
            # Not `mean`, which is NaN for samples without cells.
            mean_square = (error / allowed).square().sum(cells, keepdim=True) / max(1, x[0].numel())
            size = mean_square.sqrt().nan_to_num(nan=math.inf)
            accept = size <= 1
            u, slope, data = (
                torch.where(accept, new, old) for new, old in ((moved, u), (slope4, slope), (moved_data, data))
            )
            angle = torch.where(accept, angle + h, angle)
            step = torch.where(angle > end, -h * (0.9 * size ** (-1 / 3)).clamp(0.2, 5), step)
            finished = angle - end <= 1e-6 * first.angle
            angle = torch.where(finished, torch.full_like(angle, end), angle)
            if finished.all():
                break
            yield Partial(data.to(x.dtype), finished.expand(shape))
        else:
            unfinished = int((~finished).sum())
            raise UserError(
                f"the adaptive solver did not reach the data in {self.max_steps} steps for {unfinished} of {len(x)} "
                "samples; "
                f"raise tolerance (now {self.tolerance:g}) or max_steps, or choose another solver"
            )
        yield Partial((u * final.radius if final.sigma > 0 else final.alpha * data).to(x.dtype), finished.expand(shape))
