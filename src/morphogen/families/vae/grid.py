"""A variational autoencoder of grids. Equations: README.md."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ...core.space import Grid, Space
from ...nn.pyramid import coarse_size
from .base import VariationalAutoencoder
from .grid_autoencoder import GridAutoencoder, chosen_likelihood
from .options import GridOptions


class GridVAE(VariationalAutoencoder):
    """The variance of a gaussian decoder is set from the data as it trains (σ-VAE, arXiv 2006.13202)."""

    Options = GridOptions

    space: Grid
    options: GridOptions
    autoencoder: GridAutoencoder

    def __init__(self, space: Grid, conditions: Mapping[str, Space], options: GridOptions) -> None:
        patch, blocks = options.depth(space.size)
        # Saved as chosen here, because a later version may choose otherwise.
        options = options.model_copy(
            update={"patch": patch, "blocks": blocks, "likelihood": chosen_likelihood(space, options)}
        )
        size = coarse_size(space.size, patch * 2 ** (len(blocks) - 1)) if options.latent == "grid" else ()
        latent = Grid(options.latent_channels, size)
        autoencoder = GridAutoencoder(space, latent, conditions, options)
        super().__init__(space, conditions, options, latent=latent, autoencoder=autoencoder)

    @torch.no_grad()
    def on_step_end(self, progress: float, epochs: float, losses: Mapping[str, float]) -> None:
        super().on_step_end(progress, epochs, losses)
        if "squared_error" in losses:
            log_deviation = self.autoencoder.log_deviation
            target = 0.5 * math.log(max(losses["squared_error"], 1e-8))
            log_deviation.lerp_(torch.full_like(log_deviation, target), 0.02 if progress > 0.01 else 1.0)
