"""How a variational autoencoder is built, and how it samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from ...core.config import Frozen
from ...nn.levels import default_blocks, default_patch


class Options(Frozen):
    """How to build a variational autoencoder."""

    likelihood: Literal["auto", "gaussian", "bernoulli", "discretised_logistic"] = Field(
        "auto", description="Of a value given its latent; auto is bernoulli for two-valued data, else gaussian."
    )
    latent: Literal["grid", "vector"] = Field("grid", description="Latents on a coarse grid, or one vector an item.")
    latent_channels: int | None = Field(
        None, ge=1, description="Numbers at each cell of the grid, or in the vector; None: 4, of sequences 128."
    )
    width: int = Field(
        64, ge=8, multiple_of=8, description="Channels at the first level; the deeper ones have twice as many."
    )
    layers: int = Field(3, ge=1, description="Layers of the reader and of the writer of sequences.")
    word_drop: float = Field(
        0.1, ge=0, lt=1, description="Share of symbols that the writer of sequences is not told in training."
    )
    blocks: tuple[int, ...] | None = Field(
        None, min_length=1, description="Residual blocks at each level, finest first; None: by the size."
    )
    patch: int | None = Field(None, ge=1, description="Cells a side that become channels first; None: by the size.")
    beta: float | None = Field(
        None, ge=0, description="Weight of the Kullback-Leibler term; None: 1, of rows of columns 0.01."
    )
    free_bits: float | None = Field(
        None, ge=0, description="Nats each latent channel may carry unpunished; None: 0, of sequences 1."
    )
    warm_up: float = Field(0.1, ge=0, le=1, description="Share of its phase over which beta grows from 0.")
    prior: Literal["flow", "mixture", "normal"] = Field("flow", description="The prior learned after the autoencoder.")
    prior_share: float = Field(0.5, gt=0, lt=1, description="Share of the budget spent on a flow prior.")
    prior_width: int = Field(128, ge=8, multiple_of=8, description="Channels of the flow prior.")
    prior_blocks: int = Field(4, ge=1, description="Residual blocks of the flow prior.")
    components: int = Field(10, ge=1, description="Components of a mixture prior.")
    condition_drop: float = Field(0.1, ge=0, lt=1, description="Share of samples trained without their condition.")

    def depth(self, size: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """`patch` and `blocks`, settled for that size of the space; a grid of latents is at least halved."""
        patch = self.patch or default_patch(size)
        return patch, self.blocks or default_blocks(size, patch, least=2 if size else 1)

    def settled(self, *, channels: int, free_bits: float, beta: float) -> Options:
        """With the latent's numbers, free bits and beta, where they were left open."""
        own = channels if self.latent_channels is None else self.latent_channels
        free = free_bits if self.free_bits is None else self.free_bits
        weight = beta if self.beta is None else self.beta
        return self.model_copy(update={"latent_channels": own, "free_bits": free, "beta": weight})


# What the probe may choose among for a budget, smallest first.
SIZES = tuple({"width": width, "prior_width": 2 * width} for width in (16, 32, 48, 64, 96, 128, 192))


class Controls(Frozen):
    """How a variational autoencoder samples."""

    temperature: float = Field(1.0, ge=0, description="Scale of the noise that the prior starts from.")
    steps: int = Field(12, ge=1, description="Steps of the flow prior's solver.")
    guidance: float = Field(1.0, ge=0, description="Classifier-free guidance scale of the flow prior; 1 is none.")
