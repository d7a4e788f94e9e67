"""The autoencoder: grids to a coarse grid of latents and back. Equations: README.md."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...core.space import Grid
from ...nn.pyramid import Decoder, Encoder, VectorEncoder

_LAYERS = 3  # of the perceptrons for vectors without axes


class Autoencoder(nn.Module):
    """Residual convolutions to and from a coarse grid; residual perceptrons for vectors without axes.

    Half of the downsampling is space to depth, with which the finest level costs a quarter.
    """

    def __init__(self, space: Grid, latent: Grid, *, width: int, factor: int) -> None:
        super().__init__()
        self.encoder: nn.Module
        self.decoder: nn.Module
        if not space.size:
            self.encoder = VectorEncoder(space, channels_out=2 * latent.channels, width=width, layers=_LAYERS)
            self.decoder = VectorEncoder(latent, channels_out=space.channels, width=width, layers=_LAYERS)
            return
        levels = max(1, factor.bit_length() - 1)
        widths = [width * min(2, 1 + level) for level in range(levels)]
        shape = {"widths": widths, "patch": factor // 2 ** (levels - 1)}
        self.encoder = Encoder(space, latent, channels_out=2 * latent.channels, blocks=[1] * levels, **shape)
        self.decoder = Decoder(space, latent, embedding=0, blocks=[1] * (levels - 1) + [2], **shape)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z|x), each `(B, *latent.shape)`."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def sample(self, x: Tensor) -> Tensor:
        """Return a sample of q(z|x), `(B, *latent.shape)`."""
        mean, log_variance = self.posterior(x)
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)

    def decode(self, z: Tensor) -> Tensor:
        """Return the data of latents, `(B, *space.shape)`."""
        output: Tensor = self.decoder(z)
        return output.float()
