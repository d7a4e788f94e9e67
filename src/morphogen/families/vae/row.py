"""A variational autoencoder of rows. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from ...core.model import Batch
from ...core.space import Grid, Row, Space
from .base import VariationalAutoencoder
from .options import RowOptions
from .row_autoencoder import RowAutoencoder


class RowVAE(VariationalAutoencoder):
    """A latent vector for each row; a row is sampled given its latent."""

    Options = RowOptions
    fixed_size = True
    min_steps = 600  # large batches serve rows better, see RowOptions.beta

    space: Row
    options: RowOptions
    autoencoder: RowAutoencoder

    def __init__(self, space: Row, conditions: Mapping[str, Space], options: RowOptions) -> None:
        latent = Grid(options.latent_channels)
        autoencoder = RowAutoencoder(space, latent, conditions, options)
        super().__init__(space, conditions, options, latent=latent, autoencoder=autoencoder)

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        if phase == "autoencoder":
            self.autoencoder.set_frequencies(torch.cat([batch.x for batch in batches]))
        else:
            super().initialize(phase, batches)
