"""How a diffusion model is built, and how it samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from ...core.config import Frozen
from ...nn.levels import default_blocks, default_patch
from ...sampling.solvers.base import AnySolver, resolve


class Options(Frozen):
    """How to build a diffusion model."""

    path: Literal["straight", "cosine", "ddpm", "edm"] = Field("straight", description="From data to noise.")
    prediction: Literal["velocity", "data", "noise"] = Field("velocity", description="What the network says.")
    width: int = Field(
        48, ge=8, multiple_of=8, description="Channels at the first level; the deeper ones have twice as many."
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Residual blocks at each level, finest first; None: by the size."
    )
    patch: int | None = Field(None, ge=1, description="Cells a side that become channels first; None: by the size.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout inside residual blocks.")
    condition_drop: float = Field(0.1, ge=0, lt=1, description="Share of samples trained without their condition.")
    fill: float = Field(
        0.0, ge=0, lt=1, description="Share of items trained to be filled in around cells given; 0: it cannot."
    )
    noise_levels: Literal["lognormal", "uniform"] = Field("lognormal", description="Noise levels seen in training.")
    # Four 5-minute models of Fashion-MNIST without conditions, judged on training pictures: with these two coverage is
    # .31 and .32, density .63 and .63; with (-.8, 1.2) .28 and .30, .54 and .57. The distance is the same.
    noise_mean: float = Field(-0.4, description="Mean of the logarithm of the noise level in training.")
    noise_spread: float = Field(1.4, gt=0, description="Standard deviation of the same.")

    @model_validator(mode="after")
    def _noise_tells_of_data(self) -> Self:
        if self.prediction == "noise" and self.path in ("straight", "cosine"):
            raise ValueError(f"the path '{self.path}' begins at noise alone, which tells nothing of data; use ddpm")
        return self

    def depth(self, size: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """`patch` and `blocks`, settled for that size of the space."""
        patch = self.patch or default_patch(size)
        return patch, self.blocks or default_blocks(size, patch)


# What the probe may choose among for a budget, smallest first.
SIZES = tuple({"width": width} for width in (16, 32, 48, 64, 96, 128, 192, 256))


# The defaults served a 10-minute model of Fashion-MNIST best of a few tried, on 2,000 samples against training
# pictures: guidance 1.6 in the interval took the Fréchet distance from 4.2 to 1.8, at all levels to 3.1; 35 evaluations
# of heun did no better than 20 of dpm_solver.
class Controls(Frozen):
    """How a diffusion model samples."""

    solver: AnySolver = Field(default_factory=lambda: resolve("dpm_solver"), description="Name of a solver.")
    steps: int | None = Field(
        None, ge=1, description="Steps of the solver; None: 20, of rows of numbers and choices 50."
    )
    spacing: Literal["auto", "karras", "uniform"] = Field(
        "auto", description="How the steps are spread; auto: uniform in time on the straight path, else karras."
    )
    guidance: float = Field(
        1.6, ge=0, description="Classifier-free guidance scale, where there is a condition; 1 is none."
    )
    guidance_interval: tuple[float, float] = Field(
        (0.1, 5.0), description="Noise levels at which it acts, in deviations of the data; 0 and inf: all."
    )
    noise_low: float = Field(0.002, gt=0, description="Noise level of the last step but one.")
    noise_high: float = Field(80.0, gt=0, description="Noise level of the first step.")
