"""Which generative adversarial networks there are, how they are built, and how they sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ...core.config import Frozen
from ...core.plugins import ModelEntry
from ...core.space import Grid, Space
from ...nn.depth import default_blocks, default_patch


class Options(Frozen):
    """How to build a generative adversarial network."""

    loss: Literal["relativistic", "nonsaturating", "hinge", "wasserstein"] = Field(
        "relativistic", description="Adversarial loss of critic and generator."
    )
    gamma: Annotated[float, Field(ge=0)] | Literal["adaptive"] = Field(
        "adaptive",
        description="Weight of the gradient penalties; adaptive: set in the first quarter of training by how well the "
        "critic ranks real above generated items, or 1 for wasserstein.",
    )
    penalty_every: int | None = Field(
        None,
        ge=1,
        description="Steps between gradient penalties, which weigh as many times more; None: 4, for wasserstein 1.",
    )
    augment: Annotated[float, Field(ge=0, le=1)] | Literal["adaptive"] = Field(
        "adaptive", description="Probability of each augmentation of the critic's input; adaptive: as it overfits."
    )
    network: Literal["residual", "dcgan"] = Field(
        "residual", description="Generator: residual blocks without normalisation, or dcgan: with normalisation."
    )
    latent_channels: int = Field(64, ge=1, description="Length of the noise vector that the generator reads.")
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="Fraction of training items whose condition is dropped."
    )
    width: int = Field(
        48, ge=8, multiple_of=8, description="Channels of the first level; deeper levels have twice as many."
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Residual blocks of each level, finest first; None: chosen by the grid's size."
    )
    patch: int | None = Field(
        None, ge=1, description="Cells a side that are merged into one at first; None: chosen by the grid's size."
    )

    def depth(self, size: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Return `patch` and `blocks` for grids of that size."""
        patch = self.patch or default_patch(size)
        return patch, self.blocks or default_blocks(size, patch)


class Controls(Frozen):
    """How a generative adversarial network samples: one evaluation of the generator."""

    truncation: float = Field(
        1.0, ge=0, description="Scale of the noise; below 1 samples are more typical and less diverse."
    )


# The probe chooses among these for a budget.
_SIZES = tuple({"width": width} for width in (16, 32, 48, 64, 96, 128, 192))

MODELS: dict[type[Space], ModelEntry] = {Grid: ModelEntry("grid", Options, Controls, _SIZES)}
