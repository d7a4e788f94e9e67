"""A variational autoencoder with a learned prior, over numbers, sequences of symbols or rows. Equations: README.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, LatentModel, LikelihoodModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Continuous, Space, Tokens
from ...nn.mlp import MLP
from ...nn.pyramid import Decoder, Encoder, RowEncoder, coarse_size
from . import options as settings
from .likelihood import LikelihoodName, nats, value
from .prior import FlowPrior, MixturePrior, NormalPrior
from .rows import RowAutoencoder
from .sequences import SequenceAutoencoder

# Rows of columns: β, a prior so much wider than `prior_width` says, and batches so large that there are so few steps.
# Of Adult in two minutes the AUC of a classifier that tells rows from real ones was .75 with a β of .2, .68 with .05,
# .63 with .01; with the prior as wide as of pictures, and in batches of 32, .79.
_ROWS_BETA, _ROWS_PRIOR, _ROWS_LEAST_STEPS = 0.01, 2, 600


class Autoencoder(nn.Module):
    """Encoder and decoder: the part that the first phase trains."""

    def __init__(
        self, space: Continuous, latent: Continuous, conditions: Mapping[str, Space], options: settings.Options
    ) -> None:
        super().__init__()
        patch, blocks = options.depth(space.size)
        widths = [options.width * min(2, 1 + level) for level in range(len(blocks))]
        embedding = max(64, widths[-1])
        self.conditioner = Conditioner(conditions, embedding, options.condition_drop)
        self.encoder: nn.Module
        self.decoder: nn.Module
        if space.size:
            shape = {"widths": widths, "blocks": blocks, "patch": patch}
            self.encoder = Encoder(space, latent, channels_out=2 * latent.channels, **shape)  # type: ignore[arg-type]
            self.decoder = Decoder(space, latent, embedding=embedding, **shape)  # type: ignore[arg-type]
        else:
            self.encoder = RowEncoder(space, channels_out=2 * latent.channels, width=widths[-1], layers=sum(blocks))
            self.decoder = MLP(
                features_in=latent.channels,
                features_out=space.channels,
                width=widths[-1],
                layers=sum(blocks),
                embedding=embedding,
                dropout=0.0,
            )
        scales = space.channels if _likelihood(space, options) == "discretised_logistic" else 0
        self.log_scale = nn.Parameter(torch.full((scales, *(1,) * len(space.size)), -2.0)) if scales else None

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each `(B, *latent.shape)`."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def output(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """The decoder's output, before the activation of its likelihood, `(B, *space.shape)`."""
        return self.decoder(z, self.conditioner(condition, z).vector).float()


class VariationalAutoencoder(GenerativeModel, LatentModel, LikelihoodModel):
    """Kingma & Welling (arXiv 1312.6114) with the decoder's variance learned and the prior learned afterwards."""

    Options = settings.Options
    Controls = settings.Controls
    accepts: ClassVar[tuple[type, ...]] = (Continuous, Tokens)
    exact = False
    one_item_a_row = True

    log_deviation: Tensor
    progress: Tensor
    space: Continuous | Tokens
    latent: Continuous
    options: settings.Options
    autoencoder: Autoencoder | SequenceAutoencoder | RowAutoencoder

    def __init__(self, space: Continuous | Tokens, conditions: Mapping[str, Space], options: settings.Options) -> None:
        if isinstance(space, Tokens) and space.parts:
            options = options.settled(channels=32, free_bits=0.0, beta=_ROWS_BETA)
            super().__init__(space, conditions, options)
            self.latent = Continuous(options.latent_channels or 0)
            self.autoencoder = RowAutoencoder(space, self.latent, conditions, options)
            self.one_size, self.least_steps = True, _ROWS_LEAST_STEPS
        elif isinstance(space, Tokens):
            options = options.settled(channels=128, free_bits=1.0, beta=1.0)
            super().__init__(space, conditions, options)
            self.latent = Continuous(options.latent_channels or 0)
            self.autoencoder = SequenceAutoencoder(space, self.latent, conditions, options)
            # Of 14,000 sentences, in four minutes, batches of 64 taught more than of 128, and 32 no more; after ten
            # minutes 41 of 128 kept from training came back from networks 128 wide, and 96 from 64 wide.
            self.symbols_a_parameter, self.many_steps = 0.25, 2500
        else:
            options = _checked(space, options.settled(channels=4, free_bits=0.0, beta=1.0))
            super().__init__(space, conditions, options)
            grid = options.latent == "grid" and bool(space.size)
            patch, blocks = options.depth(space.size)
            size = coarse_size(space.size, patch * 2 ** (len(blocks) - 1)) if grid else ()
            self.latent = Continuous(options.latent_channels or 0, size)
            self.likelihood: LikelihoodName = _likelihood(space, options)
            self.autoencoder = Autoencoder(space, self.latent, conditions, options)
        wider = _ROWS_PRIOR if isinstance(self.autoencoder, RowAutoencoder) else 1
        self.prior: FlowPrior | MixturePrior | NormalPrior
        if options.prior == "flow":
            self.prior = FlowPrior(
                self.latent,
                conditions,
                width=wider * options.prior_width,
                blocks=options.prior_blocks,
                condition_drop=options.condition_drop,
            )
        elif options.prior == "mixture":
            self.prior = MixturePrior(self.latent, conditions, components=options.components)
        else:
            self.prior = NormalPrior(self.latent)
        # The shared deviation of a gaussian decoder, set from the data as it trains (σ-VAE, arXiv 2006.13202).
        self.register_buffer("log_deviation", torch.zeros(()))
        self.register_buffer("progress", torch.zeros(()))

    def phases(self) -> Sequence[Phase]:
        options = self.options
        if options.prior == "normal":
            return (Phase("autoencoder", trains="autoencoder"),)
        share = 1.0 - options.prior_share if options.prior == "flow" else 1.0
        return (
            Phase("autoencoder", trains="autoencoder", during=(0.0, share)),
            Phase("prior", trains="prior", during=(share, 1.0)),
        )

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        if phase == "autoencoder" and isinstance(self.autoencoder, RowAutoencoder):
            self.autoencoder.begin(torch.cat([batch.x for batch in batches]))
        if phase == "prior":
            encoded = [(self._draw_posterior(batch.x), batch.condition) for batch in batches]
            self.prior.begin(torch.cat([z for z, _ in encoded]), [condition for _, condition in encoded])

    @torch.no_grad()
    def adapt(self, progress: float, passes: float, seen: Mapping[str, float]) -> None:
        self.progress.fill_(progress)
        if "squared_error" in seen:
            target = 0.5 * math.log(max(seen["squared_error"], 1e-8))
            self.log_deviation.lerp_(torch.full_like(self.log_deviation, target), 0.02 if progress > 0.01 else 1.0)

    def forward(self, batch: Batch, phase: str = "autoencoder") -> Loss:
        if phase == "prior":
            with torch.no_grad():
                z = self._draw_posterior(batch.x)
            return self.prior(z, batch.condition)
        return self._bound(batch)

    def _bound(self, batch: Batch) -> Loss:
        """README, equations 1 to 3: the evidence lower bound per dimension, so that its scale is that of any size."""
        options, x = self.options, batch.x
        mean, log_variance = self.autoencoder.posterior(x)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        reconstruction, parts = self._reconstruction(z, batch)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)  # (B, *latent.shape)
        channels = divergence.reshape(len(x), self.latent.channels, -1).sum(2).mean(0)
        punished = channels.clamp(min=options.free_bits or 0.0).sum()
        _, share = self.phases()[0].during
        warm = (self.progress / max(options.warm_up * share, 1e-9)).clamp(max=1.0)
        part, dimensions = self.autoencoder, torch.tensor(float(self.space.dimensions))
        if not isinstance(part, Autoencoder):
            dimensions = part.symbols(x).float().mean()
        total = (reconstruction + (options.beta or 0.0) * warm * punished) / dimensions
        parts |= {"reconstruction_nats": reconstruction.detach(), "divergence_nats": channels.sum().detach()}
        return Loss(total, parts)

    def _reconstruction(self, z: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean nats of an item given its latent, and parts of the loss."""
        if not isinstance(self.autoencoder, Autoencoder):
            return self.autoencoder.nats(z, batch.condition, batch.x).mean(), {}
        output = self.autoencoder.output(z, batch.condition)
        squared_error = (value(self.likelihood, output) - batch.x).square().mean()
        if self.likelihood == "gaussian":
            # The analytic optimum of the shared variance within the batch (arXiv 2006.13202, Equation 5).
            constant = math.log(2 * math.pi) + 1
            reconstruction = 0.5 * self.space.dimensions * (constant + torch.log(squared_error + 1e-8))
        else:
            reconstruction = self._nats(output, batch.x).mean()
        return reconstruction, {"squared_error": squared_error.detach()}

    def _nats(self, output: Tensor, x: Tensor) -> Tensor:
        assert isinstance(self.autoencoder, Autoencoder)
        assert isinstance(self.space, Continuous)
        learned = self.autoencoder.log_scale
        log_scale = self.log_deviation if learned is None else learned
        return nats(self.likelihood, output, x, log_scale, self.space.step)

    def _cost(self, z: Tensor, batch: Batch) -> Tensor:
        """−ln p(x|z) of each item, `(B,)`."""
        if not isinstance(self.autoencoder, Autoencoder):
            return self.autoencoder.nats(z, batch.condition, batch.x)
        return self._nats(self.autoencoder.output(z, batch.condition), batch.x)

    def _draw_posterior(self, x: Tensor) -> Tensor:
        mean, log_variance = self.autoencoder.posterior(x)
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        condition = dict(request.condition)
        for z, done in self.prior.sample(request.noise, condition, controls, self.device):
            if not done and not request.drafts:
                continue
            if isinstance(self.autoencoder, RowAutoencoder):
                uniform = request.noise.uniform("symbols", self.space.size).to(z.device)
                x = self.autoencoder.draw(z, condition, uniform)
            else:
                x = self.decode(z, condition)
            yield Partial(x, torch.tensor(done, device=x.device).expand(x.shape))

    def encode(self, batch: Batch) -> Tensor:
        return self.autoencoder.posterior(batch.x)[0]

    def decode(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        if not isinstance(self.autoencoder, Autoencoder):
            return self.autoencoder.items(z, condition)
        return value(self.likelihood, self.autoencoder.output(z, condition))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise, draws: int = 64) -> Tensor:
        """README, equation 5: the importance-weighted bound (arXiv 1509.00519) under the standard normal prior."""
        mean, log_variance = self.autoencoder.posterior(batch.x)
        weights = []
        for draw in range(draws):
            epsilon = noise.normal("posterior", self.latent.shape, at=draw).to(mean)
            z = mean + torch.exp(0.5 * log_variance) * epsilon
            # ln p(z) − ln q(z|x): the constants of the two normals cancel.
            ratio = 0.5 * (epsilon.square() + log_variance - z.square()).flatten(1).sum(1)
            weights.append(ratio - self._cost(z, batch))
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(draws)


def _checked(space: Continuous, options: settings.Options) -> settings.Options:
    """With what was settled, which is what is saved: a later version may settle it otherwise."""
    if options.likelihood == "bernoulli" and space.step != 2:
        raise UserError("likelihood bernoulli needs data of two values, -1 and 1; use auto or gaussian")
    if options.likelihood == "discretised_logistic" and not space.step:
        raise UserError("likelihood discretised_logistic needs data in steps, such as 8 bits; use auto or gaussian")
    patch, blocks = options.depth(space.size)
    return options.model_copy(update={"patch": patch, "blocks": blocks})


def _likelihood(space: Continuous, options: settings.Options) -> LikelihoodName:
    if options.likelihood != "auto":
        return options.likelihood
    # Values two apart in [-1, 1] are only -1 and 1.
    return "bernoulli" if space.step == 2 else "gaussian"
