"""Which diffusion models there are, how they are built, and how they sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...core.config import Frozen, ReadIf
from ...core.plugins import ModelEntry
from ...core.space import Grid, Row, Space
from ...nn.depth import default_blocks, default_patch
from ...sampling.guidance_controls import IntervalGuidance
from ...sampling.solver_controls import SolverControls


class SharedOptions(Frozen):
    """What every diffusion model is built with."""

    read_if: ClassVar[tuple[ReadIf, ...]] = (
        ReadIf(("log_sigma_mean", "log_sigma_std"), "noise_levels", ("lognormal",)),
    )

    schedule: Literal["linear", "cosine", "ddpm", "edm"] = Field(
        "linear", description="Noise schedule; linear is flow matching."
    )
    prediction: Literal["velocity", "data", "noise"] = Field("velocity", description="What the network predicts.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate inside residual blocks.")
    noise_levels: Literal["lognormal", "uniform"] = Field(
        "lognormal", description="Distribution of noise levels in training: lognormal, or uniform in time."
    )
    # Four 5-minute models of Fashion-MNIST without conditions, judged on training pictures: with these two coverage is
    # .31 and .32, density .63 and .63; with (-.8, 1.2) .28 and .30, .54 and .57. The distance is the same.
    log_sigma_mean: float = Field(-0.4, description="Mean of the log noise level in training, if lognormal.")
    log_sigma_std: float = Field(
        1.4, gt=0, description="Standard deviation of the log noise level in training, if lognormal."
    )

    @model_validator(mode="after")
    def _noise_is_predictable(self) -> Self:
        if self.prediction == "noise" and self.schedule in ("linear", "cosine"):
            raise ValueError(
                f"prediction 'noise' needs a schedule that starts with some data, and '{self.schedule}' starts at pure "
                "noise; choose ddpm or edm"
            )
        return self


class GridOptions(SharedOptions):
    """How to build a diffusion model of grids."""

    width: int = Field(
        48, ge=8, multiple_of=8, description="Channels of the first level; deeper levels have twice as many."
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Residual blocks of each level, finest first; None: chosen by the grid's size."
    )
    patch: int | None = Field(
        None, ge=1, description="Cells a side that are merged into one at first; None: chosen by the grid's size."
    )
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="Fraction of training items whose condition is dropped."
    )
    inpaint_prob: float = Field(
        0.0, ge=0, lt=1, description="Fraction of training items with random known cells; 0: the model cannot inpaint."
    )
    augment: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Probability that a training picture is mirrored; and likewise turned, scaled, stretched, shifted. "
        "The network is given these changes, so that samples are not changed; None: chosen by the number of pictures.",
    )

    def depth(self, size: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Return `patch` and `blocks` for grids of that size."""
        patch = self.patch or default_patch(size)
        return patch, self.blocks or default_blocks(size, patch)


class RowOptions(SharedOptions):
    """How to build a diffusion model of rows."""

    # Of Adult in two minutes, 256 wide in 5,171 steps of 512 rows, the AUC of a classifier between its rows and real
    # ones was .572 after 20 steps of the solver, .540 after 50, .550 after 100; 512 wide in batches of 128 .66.
    width: int = Field(288, ge=8, multiple_of=8, description="Width of the residual perceptron.")
    layers: int = Field(3, ge=1, description="Residual layers of the perceptron.")


# The defaults served a 10-minute model of Fashion-MNIST best of a few tried, on 2,000 samples against training
# pictures: guidance 1.6 in the interval took the Fréchet distance from 4.2 to 1.8, at all levels to 3.1; 35 evaluations
# of heun did no better than 20 of dpm_solver.
class GridControls(IntervalGuidance, SolverControls):
    """How a diffusion model of grids samples."""


class RowControls(SolverControls):
    """How a diffusion model of rows samples."""

    steps: int = Field(50, ge=1, description="Steps of the solver.")


# The probe chooses among these for a budget; it does not size models of rows.
_SIZES = tuple({"width": width} for width in (16, 32, 48, 64, 96, 128, 192, 256))

MODELS: dict[type[Space], ModelEntry] = {
    Grid: ModelEntry("grid", GridOptions, GridControls, _SIZES),
    Row: ModelEntry("row", RowOptions, RowControls),
}
