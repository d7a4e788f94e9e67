"""How a vector-quantised autoencoder is built, and how it samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ...core.config import Frozen
from ...nn.levels import default_blocks, default_patch


class Options(Frozen):
    """How to build a vector-quantised autoencoder."""

    quantiser: Literal["scalar", "codebook"] = Field(
        "scalar", description="scalar: finite scalar quantisation; codebook: learned vectors."
    )
    levels: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (8, 5, 5, 5),
        min_length=1,
        description="Levels of each channel of the scalar quantiser; their product is the codes.",
    )
    codes: int = Field(512, ge=2, description="Vectors in the codebook.")
    code_channels: int = Field(8, ge=1, description="Width of a vector in the codebook.")
    code_decay: float = Field(0.99, gt=0, lt=1, description="Of the running means that the codebook is.")
    commitment: float = Field(0.25, ge=0, description="Weight of staying near the vector chosen.")
    adversarial: float = Field(
        0.0, ge=0, description="Weight of deceiving a critic that tells data from what is decoded; against blur."
    )
    perceptual: float = Field(0.0, ge=0, description="Weight of looking alike to that critic: of its features.")
    width: int = Field(
        64, ge=8, multiple_of=8, description="Channels at the first level; the deeper ones have twice as many."
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Residual blocks at each level, finest first; None: by the size."
    )
    patch: int | None = Field(None, ge=1, description="Cells a side that become channels first; None: by the size.")

    def depth(self, size: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """`patch` and `blocks`, settled for that size of the space; the grid of codes is at least halved."""
        patch = self.patch or default_patch(size)
        return patch, self.blocks or default_blocks(size, patch, least=2)


# What the probe may choose among for a budget, smallest first.
SIZES = tuple({"width": width} for width in (16, 32, 48, 64, 96, 128, 192))


class Controls(Frozen):
    """How a vector-quantised autoencoder samples by itself: each cell's code by its own frequency."""

    temperature: float = Field(1.0, ge=0, description="Below 1 the frequent codes become more so; 0: always the first.")
