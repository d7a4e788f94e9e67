"""How a generative adversarial network is built, and how it samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ...core.config import Frozen
from ...nn.levels import default_blocks, default_patch


class Options(Frozen):
    """How to build a generative adversarial network."""

    loss: Literal["relativistic", "nonsaturating", "hinge", "wasserstein"] = Field(
        "relativistic", description="What the critic and the generator play for."
    )
    gamma: Annotated[float, Field(ge=0)] | Literal["adaptive"] = Field(
        "adaptive",
        description="Weight of the gradient penalties: on data and samples, or between them for wasserstein; "
        "adaptive: found in the first quarter of the budget, 1 for wasserstein.",
    )
    penalty_every: int | None = Field(
        None, ge=1, description="Steps from penalty to penalty, which then weigh as much more; None: 4, wasserstein 1."
    )
    augment: Annotated[float, Field(ge=0, le=1)] | Literal["adaptive"] = Field(
        "adaptive", description="Share of what the critic sees that is augmented; adaptive: as it overfits."
    )
    network: Literal["residual", "dcgan"] = Field(
        "residual",
        description="residual: without normalisation; dcgan: a generator that normalises, as the classic ones.",
    )
    latent_channels: int = Field(64, ge=1, description="Numbers a sample is made from.")
    condition_drop: float = Field(0.1, ge=0, lt=1, description="Share of samples trained without their condition.")
    width: int = Field(
        48, ge=8, multiple_of=8, description="Channels at the first level; the deeper ones have twice as many."
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Residual blocks at each level, finest first; None: by the size."
    )
    patch: int | None = Field(None, ge=1, description="Cells a side that become channels first; None: by the size.")

    def depth(self, size: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """`patch` and `blocks`, settled for that size of the space."""
        patch = self.patch or default_patch(size)
        return patch, self.blocks or default_blocks(size, patch)


# What the probe may choose among for a budget, smallest first.
SIZES = tuple({"width": width} for width in (16, 32, 48, 64, 96, 128, 192))


class Controls(Frozen):
    """How a generative adversarial network samples: one evaluation of the generator."""

    truncation: float = Field(
        1.0, ge=0, description="Scale of the noise; below 1 samples are more typical and less diverse."
    )
