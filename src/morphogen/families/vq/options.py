"""Which vector-quantised autoencoders there are, how they are built, and how they sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...core.config import Frozen, ReadIf
from ...core.plugins import ModelEntry
from ...core.space import Grid, Space
from ...nn.depth import default_blocks, default_patch


class Options(Frozen):
    """How to build a vector-quantised autoencoder."""

    read_if: ClassVar[tuple[ReadIf, ...]] = (
        ReadIf(("levels",), "quantiser", ("scalar",)),
        ReadIf(("codes", "code_channels", "code_decay", "commitment"), "quantiser", ("codebook",)),
    )

    quantiser: Literal["scalar", "codebook"] = Field(
        "scalar", description="scalar: finite scalar quantisation; codebook: learned vectors."
    )
    levels: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (8, 5, 5, 5),
        min_length=1,
        description="Levels of each channel of the scalar quantiser; their product is the number of codes.",
    )
    codes: int = Field(512, ge=2, description="Vectors in the codebook.")
    code_channels: int = Field(8, ge=1, description="Length of a vector in the codebook.")
    code_decay: float = Field(0.99, gt=0, lt=1, description="Decay of the running means that are the codebook.")
    commitment: float = Field(
        0.25, ge=0, description="Weight of the distance between the encoder's output and its vector of the codebook."
    )
    adversarial: float = Field(0.0, ge=0, description="Weight of an adversarial loss, against blur; 0: no critic.")
    perceptual: float = Field(0.0, ge=0, description="Weight of a distance of the critic's features, against blur.")
    width: int = Field(
        64, ge=8, multiple_of=8, description="Channels of the first level; deeper levels have twice as many."
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Residual blocks of each level, finest first; None: chosen by the grid's size."
    )
    patch: int | None = Field(
        None, ge=1, description="Cells a side that are merged into one at first; None: chosen by the grid's size."
    )

    def depth(self, size: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Return `patch` and `blocks` for grids of that size; the grid of codes has at most half the sides."""
        patch = self.patch or default_patch(size)
        return patch, self.blocks or default_blocks(size, patch, min_levels=2)


class Controls(Frozen):
    """How a vector-quantised autoencoder samples by itself: the code of each cell by its frequency there."""

    temperature: float = Field(
        1.0, ge=0, description="Below 1 frequent codes become more frequent; 0: always the most frequent."
    )


# The probe chooses among these for a budget.
_SIZES = tuple({"width": width} for width in (16, 32, 48, 64, 96, 128, 192))

MODELS: dict[type[Space], ModelEntry] = {Grid: ModelEntry("grid", Options, Controls, _SIZES)}
