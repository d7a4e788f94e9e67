"""How models of an autoencoder's latents are built, and how they sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field, field_validator

from ...core.config import Frozen
from ...core.plugins import ModelEntry
from ...core.space import Grid, Space
from ...sampling.guidance_controls import IntervalGuidance
from ...sampling.solver_controls import SolverControls

_CELLS = 256  # of a grid of latents, at most: few enough to be modelled in minutes


class GridOptions(Frozen):
    """How to build an autoencoder of grids and the denoiser of its latents."""

    downsampling: int | None = Field(
        None, ge=1, description="Cells a side of the data for each cell of latents, a power of 2; None: chosen by size."
    )
    latent_channels: int = Field(4, ge=1, description="Numbers in each cell of the latent grid.")
    autoencoder_width: int = Field(
        32, ge=8, multiple_of=8, description="Channels of the autoencoder's first level; deeper levels have twice that."
    )
    # Of EmojiTwo at 64 x 64, 400 steps of 16 gave sharp reconstructions; as many left the denoiser far from trained.
    autoencoder_share: float = Field(0.3, gt=0, lt=1, description="Share of the budget spent on the autoencoder.")
    beta: float = Field(0.3, ge=0, description="Weight of the Kullback-Leibler term, which smooths the latents.")
    width: int = Field(
        64, ge=8, multiple_of=8, description="Channels of the denoiser's first level; deeper levels have twice that."
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
        "The denoiser is given these changes, so that samples are not changed; None: chosen by the number of pictures.",
    )

    @field_validator("downsampling")
    @classmethod
    def _is_a_power_of_two(cls, value: int | None) -> int | None:
        if value is not None and value & (value - 1):
            raise ValueError("expected a power of 2, such as 4")
        return value

    def factor(self, size: Sequence[int]) -> int:
        """Return `downsampling` for grids of that size."""
        factor = 2
        while math.prod(-(-length // factor) for length in size) > _CELLS:
            factor *= 2
        return self.downsampling or factor


class GridControls(IntervalGuidance, SolverControls):
    """How a model of latents samples; noise levels are those of standardised latents."""


# The probe chooses among these for a budget. Of EmojiTwo at 64 x 64, in four minutes of one core and one run each, the
# smallest came to a Fréchet distance of 8.1, the second to 10.2: its denoiser reads 46,000 latents, not 82,000.
_SIZES = tuple({"autoencoder_width": width, "width": 2 * width} for width in (16, 24, 32, 48, 64, 96, 128))

MODELS: dict[type[Space], ModelEntry] = {Grid: ModelEntry("grid", GridOptions, GridControls, _SIZES)}
