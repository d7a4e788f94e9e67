"""Noise schedules x_t = α(t) x_0 + σ(t) ε, and the conversions between what a network may predict.

Time runs from `end` (data) to `start` (noise). All functions are elementwise, so t broadcasts against x: one noise
level per batch, per sample, per frame or per cell. `noise_level` is σ/α, the σ of Karras et al. (arXiv 2206.00364).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from ..core.config import Frozen

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.model import Prediction

ScheduleName = Literal["linear", "cosine", "ddpm", "edm"]
PredictionType = Literal["data", "noise", "velocity"]


class Schedule(Frozen, ABC):
    """α and σ over time. Subclasses define both, their derivatives, and the inverse of the noise level."""

    start: ClassVar[float] = 1.0
    end: ClassVar[float] = 0.0

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Return the scale of the data at time t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Return the scale of the noise at time t."""

    @abstractmethod
    def alpha_rate(self, t: Tensor) -> Tensor:
        """Return dα/dt."""

    @abstractmethod
    def sigma_rate(self, t: Tensor) -> Tensor:
        """Return dσ/dt."""

    @abstractmethod
    def time(self, noise_level: Tensor) -> Tensor:
        """Return the t at which σ/α equals `noise_level`, clamped to [end, start]."""

    def noise_level(self, t: Tensor) -> Tensor:
        """Return σ/α, infinite where α is 0."""
        return self.sigma(t) / self.alpha(t)

    def mix(self, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return x_t = α data + σ noise."""
        return self.alpha(t) * data + self.sigma(t) * noise

    def velocity(self, prediction: Prediction, t: Tensor) -> Tensor:
        """Return dx_t/dt of the probability-flow ODE: α' x_0 + σ' ε (Lipman et al., arXiv 2210.02747, generalised)."""
        return self.alpha_rate(t) * prediction.data + self.sigma_rate(t) * prediction.noise

    def target(self, kind: PredictionType, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return what a network of that parametrisation is trained to predict.

        Velocity is that of the angle φ = arctan σ/α, (α ε − σ x_0)/√(α² + σ²): the v of arXiv 2202.00512 on variance
        preserving schedules, and the preconditioning of arXiv 2206.00364, Equation 7, on `edm`. For data of unit
        variance it has unit variance at every noise level.
        """
        if kind == "data":
            return data
        if kind == "noise":
            return noise
        alpha, sigma = self.alpha(t), self.sigma(t)
        return (alpha * noise - sigma * data) / (alpha.square() + sigma.square()).sqrt()

    def prediction(self, kind: PredictionType, output: Tensor, x: Tensor, t: Tensor) -> Prediction:
        """Return the network's output at (x, t), of any parametrisation, as predicted data and noise.

        Data are undefined by a noise prediction where α = 0, and noise by a data prediction where σ = 0: there the
        divisor is 1e-6. Velocity has no such point.
        """
        from ..core.model import Prediction

        alpha, sigma = self.alpha(t), self.sigma(t)
        if kind == "data":
            return Prediction(output, (x - alpha * output) / sigma.clamp(min=1e-6))
        if kind == "noise":
            return Prediction((x - sigma * output) / alpha.clamp(min=1e-6), output)
        square = alpha.square() + sigma.square()
        radius = square.sqrt()
        return Prediction(
            (alpha * x - radius * sigma * output) / square, (sigma * x + radius * alpha * output) / square
        )

    def karras_times(self, steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
        """Return `steps + 1` times from noise to data, float32.

        The noise levels of the first `steps` are spaced by Equation 5 of arXiv 2206.00364 from `sigma_max` to
        `sigma_min`; then the first time is set to `start` exactly, and the last one is `end` exactly.
        """
        import torch

        ramp = torch.linspace(0, 1, steps, dtype=torch.float64) if steps > 1 else torch.zeros(1, dtype=torch.float64)
        levels = (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
        times = self.time(levels)
        times[0] = self.start
        return torch.cat((times, times.new_full((1,), self.end))).to(torch.float32)

    def uniform_times(self, steps: int) -> Tensor:
        """Return `steps + 1` evenly spaced times from `start` to `end`."""
        import torch

        return torch.linspace(self.start, self.end, steps + 1)


class Linear(Schedule):
    """Flow matching and rectified flow: α = 1 − t, σ = t (arXiv 2210.02747, 2209.03003).

    A velocity prediction is dx_t/dt itself, ε − x_0, as in the papers.
    """

    def target(self, kind: PredictionType, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise - data if kind == "velocity" else super().target(kind, data, noise, t)

    def prediction(self, kind: PredictionType, output: Tensor, x: Tensor, t: Tensor) -> Prediction:
        from ..core.model import Prediction

        if kind == "velocity":
            return Prediction(x - t * output, x + (1 - t) * output)
        return super().prediction(kind, output, x, t)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def alpha_rate(self, t: Tensor) -> Tensor:
        return -t.new_ones(()).expand_as(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return t.new_ones(()).expand_as(t)

    def time(self, noise_level: Tensor) -> Tensor:
        # Reciprocals, because infinity over infinity is not a number.
        return (1 + noise_level.reciprocal()).reciprocal()


class Cosine(Schedule):
    """Variance preserving, α = cos(πt/2), σ = sin(πt/2) (Nichol & Dhariwal, arXiv 2102.09672, without offset)."""

    def alpha(self, t: Tensor) -> Tensor:
        # Clamped because cos(π/2) is a tiny negative number in floating point.
        return (t * (math.pi / 2)).cos().clamp(min=0)

    def sigma(self, t: Tensor) -> Tensor:
        return (t * (math.pi / 2)).sin()

    def alpha_rate(self, t: Tensor) -> Tensor:
        return -(math.pi / 2) * self.sigma(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return (math.pi / 2) * self.alpha(t)

    def time(self, noise_level: Tensor) -> Tensor:
        return noise_level.atan() * (2 / math.pi)


class DDPM(Schedule):
    """Variance preserving with linear β(t), 0.1 to 20: DDPM in continuous time (arXiv 2011.13456, Eq. 33)."""

    beta_low: float = 0.1
    beta_high: float = 20.0

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -0.25 * t**2 * (self.beta_high - self.beta_low) - 0.5 * t * self.beta_low

    def _beta(self, t: Tensor) -> Tensor:
        return self.beta_low + t * (self.beta_high - self.beta_low)

    def alpha(self, t: Tensor) -> Tensor:
        return self._log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-(2 * self._log_alpha(t)).expm1()).clamp(min=1e-12).sqrt()

    def alpha_rate(self, t: Tensor) -> Tensor:
        return -0.5 * self._beta(t) * self.alpha(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return 0.5 * self._beta(t) * self.alpha(t) ** 2 / self.sigma(t)

    def time(self, noise_level: Tensor) -> Tensor:
        # σ/α = s gives −2 ln α = ln(1 + s²), a quadratic in t; this form of its root neither cancels nor overflows.
        inverse = noise_level.square().log1p().reciprocal()
        slope, low = self.beta_high - self.beta_low, self.beta_low * inverse
        return (2 / (low + (low.square() + 2 * slope * inverse).sqrt())).clamp(0, 1)


class EDM(Schedule):
    """Variance exploding, α = 1, σ = t up to 80 (Karras et al., arXiv 2206.00364)."""

    start: ClassVar[float] = 80.0

    def alpha(self, t: Tensor) -> Tensor:
        return t.new_ones(()).expand_as(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def alpha_rate(self, t: Tensor) -> Tensor:
        return t.new_zeros(()).expand_as(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return t.new_ones(()).expand_as(t)

    def time(self, noise_level: Tensor) -> Tensor:
        return noise_level.clamp(0, self.start)


SCHEDULES: dict[ScheduleName, type[Schedule]] = {"linear": Linear, "cosine": Cosine, "ddpm": DDPM, "edm": EDM}
