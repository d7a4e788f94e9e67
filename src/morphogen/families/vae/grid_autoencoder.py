"""Encoder and decoder of grids, and the likelihood of their values."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.errors import UserError
from ...core.noise import Noise
from ...core.space import Grid, Space
from ...nn.mlp import MLP
from ...nn.pyramid import Decoder, Encoder, VectorEncoder
from .base import Autoencoder
from .likelihood import LikelihoodName, mean_value, negative_log_likelihood
from .options import GridOptions


class GridAutoencoder(Autoencoder):
    """Residual convolutions to and from a coarse grid or a vector; residual perceptrons for vectors without axes."""

    log_deviation: Tensor

    def __init__(self, space: Grid, latent: Grid, conditions: Mapping[str, Space], options: GridOptions) -> None:
        super().__init__()
        self.space, self.likelihood = space, chosen_likelihood(space, options)
        patch, blocks = options.depth(space.size)
        widths = [options.width * min(2, 1 + level) for level in range(len(blocks))]
        embedding = max(64, widths[-1])
        self.conditioner = Conditioner(conditions, embedding, options.condition_dropout)
        self.encoder: nn.Module
        self.decoder: nn.Module
        if space.size:
            shape = {"widths": widths, "blocks": blocks, "patch": patch}
            self.encoder = Encoder(space, latent, channels_out=2 * latent.channels, **shape)  # type: ignore[arg-type]
            self.decoder = Decoder(space, latent, embedding=embedding, **shape)  # type: ignore[arg-type]
        else:
            self.encoder = VectorEncoder(space, channels_out=2 * latent.channels, width=widths[-1], layers=sum(blocks))
            self.decoder = MLP(
                features_in=latent.channels,
                features_out=space.channels,
                width=widths[-1],
                layers=sum(blocks),
                embedding=embedding,
                dropout=0.0,
            )
        scales = space.channels if self.likelihood == "discretised_logistic" else 0
        self.log_scale = nn.Parameter(torch.full((scales, *(1,) * len(space.size)), -2.0)) if scales else None
        # The deviation that all values of a gaussian decoder share, set from the data (σ-VAE, arXiv 2006.13202).
        self.register_buffer("log_deviation", torch.zeros(()))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def reconstruction(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean training loss −ln p(x|z), which for a gaussian is README, equation 4; and parts to log."""
        output = self._output(z, condition)
        squared_error = (mean_value(self.likelihood, output) - x).square().mean()
        if self.likelihood == "gaussian":
            # The analytic optimum of the shared variance within the batch (arXiv 2006.13202, Equation 5).
            constant = math.log(2 * math.pi) + 1
            nats = 0.5 * self.space.dimensions * (constant + torch.log(squared_error + 1e-8))
        else:
            nats = self._nll(output, x).mean()
        return nats, {"squared_error": squared_error.detach()}

    def nll(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return self._nll(self._output(z, condition), x)

    def sample(self, z: Tensor, condition: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Return the mean of each item given its latent; `noise` is not used."""
        return mean_value(self.likelihood, self._output(z, condition))

    def num_values(self, x: Tensor) -> Tensor:
        return torch.tensor(float(self.space.dimensions))

    def _output(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Return the decoder's output, before the activation of its likelihood, `(B, *space.shape)`."""
        return self.decoder(z, self.conditioner(condition, z).vector).float()

    def _nll(self, output: Tensor, x: Tensor) -> Tensor:
        log_scale = self.log_deviation if self.log_scale is None else self.log_scale
        return negative_log_likelihood(self.likelihood, output, x, log_scale, self.space.step)


def chosen_likelihood(space: Grid, options: GridOptions) -> LikelihoodName:
    """Return the likelihood of values in that space. Raises UserError where the one that was chosen does not fit."""
    # Values two apart in [-1, 1] are only -1 and 1.
    two_valued = space.step == 2
    if options.likelihood == "auto":
        return "bernoulli" if two_valued else "gaussian"
    if options.likelihood == "bernoulli" and not two_valued:
        raise UserError("likelihood bernoulli needs data of two values, -1 and 1; choose auto or gaussian")
    if options.likelihood == "discretised_logistic" and not space.step:
        raise UserError("likelihood discretised_logistic needs data in steps, such as 8 bits; choose auto or gaussian")
    return options.likelihood
