"""Which variational autoencoders there are, how they are built, and how they sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from ...core.config import Frozen, ReadIf
from ...core.plugins import ModelEntry
from ...core.space import Grid, Row, Space, TokenSequence
from ...nn.depth import default_blocks, default_patch


class SharedOptions(Frozen):
    """What every variational autoencoder is built with."""

    read_if: ClassVar[tuple[ReadIf, ...]] = (
        ReadIf(("prior_share", "prior_width", "prior_blocks"), "prior", ("flow",)),
        ReadIf(("components",), "prior", ("mixture",)),
        ReadIf(("free_bits", "warm_up"), "beta", above=0),
    )

    latent_channels: int = Field(4, ge=1, description="Length of the latent vector.")
    width: int = Field(64, ge=8, multiple_of=8, description="Width of encoder and decoder.")
    beta: float = Field(1.0, ge=0, description="Weight of the Kullback-Leibler term.")
    free_bits: float = Field(0.0, ge=0, description="Nats of each latent channel that are not penalised.")
    warm_up: float = Field(
        0.1, ge=0, le=1, description="Share of the autoencoder's training over which beta grows from 0."
    )
    prior: Literal["flow", "mixture", "normal"] = Field(
        "flow", description="Prior that is fitted to the latents after the autoencoder."
    )
    prior_share: float = Field(0.5, gt=0, lt=1, description="Share of the budget spent on a flow prior.")
    prior_width: int = Field(128, ge=8, multiple_of=8, description="Channels of the flow prior.")
    prior_blocks: int = Field(4, ge=1, description="Residual blocks of the flow prior.")
    components: int = Field(10, ge=1, description="Components of a mixture prior.")
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="Fraction of training items whose condition is dropped."
    )


class GridOptions(SharedOptions):
    """How to build a variational autoencoder of grids."""

    likelihood: Literal["auto", "gaussian", "bernoulli", "discretised_logistic"] = Field(
        "auto",
        description="Likelihood of a value given its latent; auto: bernoulli for two-valued data, else gaussian.",
    )
    latent: Literal["grid", "vector"] = Field("grid", description="Latents on a coarse grid, or one vector an item.")
    latent_channels: int = Field(4, ge=1, description="Numbers in each cell of the latent grid, or in the vector.")
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
        """Return `patch` and `blocks` for grids of that size; a latent grid has at most half the sides."""
        patch = self.patch or default_patch(size)
        return patch, self.blocks or default_blocks(size, patch, min_levels=2 if size else 1)


class SequenceOptions(SharedOptions):
    """How to build a variational autoencoder of token sequences."""

    latent_channels: int = Field(128, ge=1, description="Length of the latent vector.")
    width: int = Field(64, ge=8, multiple_of=8, description="Width of encoder and decoder, rounded up to 16.")
    layers: int = Field(3, ge=1, description="Layers of the encoder, and of the decoder.")
    token_dropout: float = Field(
        0.1, ge=0, lt=1, description="Fraction of previous tokens hidden from the decoder in training."
    )
    free_bits: float = Field(1.0, ge=0, description="Nats of each latent channel that are not penalised.")


class RowOptions(SharedOptions):
    """How to build a variational autoencoder of rows."""

    latent_channels: int = Field(32, ge=1, description="Length of the latent vector.")
    width: int = Field(256, ge=8, multiple_of=8, description="Width of encoder and decoder.")
    # Of Adult in two minutes the AUC of a classifier between its rows and real ones was .75 with a β of .2, .68 with
    # .05, .63 with .01; with a prior half as wide, and in batches of 32, .79.
    beta: float = Field(0.01, ge=0, description="Weight of the Kullback-Leibler term.")
    prior_width: int = Field(256, ge=8, multiple_of=8, description="Channels of the flow prior.")


class Controls(Frozen):
    """How a variational autoencoder samples."""

    temperature: float = Field(1.0, ge=0, description="Scale of the noise from which the prior starts.")
    steps: int = Field(12, ge=1, description="Steps of the flow prior's solver.")
    guidance: float = Field(1.0, ge=0, description="Classifier-free guidance scale of the flow prior; 1: no guidance.")


# The probe chooses among these for a budget; it does not size models of rows.
_SIZES = tuple({"width": width, "prior_width": 2 * width} for width in (16, 32, 48, 64, 96, 128, 192))

MODELS: dict[type[Space], ModelEntry] = {
    Grid: ModelEntry("grid", GridOptions, Controls, _SIZES),
    TokenSequence: ModelEntry("sequence", SequenceOptions, Controls, _SIZES),
    Row: ModelEntry("row", RowOptions, Controls),
}
