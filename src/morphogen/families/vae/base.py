"""What variational autoencoders of all kinds of space share: the bound, the prior, generation. Equations: README.md."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...core.model import Batch, GenerativeModel, LatentModel, LikelihoodModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Grid, Space
from ...nn.hidden_matrices import hidden_matrices
from .options import Controls as SharedControls
from .options import SharedOptions
from .prior import prior_of


class Autoencoder(nn.Module, ABC):
    """Encoder and decoder of one kind of space: the module that the first phase trains."""

    @abstractmethod
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z|x), each `(B, *latent.shape)`."""

    @abstractmethod
    def nll(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return −ln p(x|z) of each item, `(B,)` in nats."""

    @abstractmethod
    def sample(self, z: Tensor, condition: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Return an item of each latent, `(B, *space.shape)`."""

    @abstractmethod
    def num_values(self, x: Tensor) -> Tensor:
        """Return how many values an item has on average, a scalar: the loss is per value."""

    def reconstruction(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean over items of the training loss −ln p(x|z), and parts of the loss to log."""
        return self.nll(z, condition, x).mean(), {}


class VariationalAutoencoder(GenerativeModel, LatentModel, LikelihoodModel, ABC):
    """Kingma & Welling (arXiv 1312.6114), with a prior that is fitted to the latents after the autoencoder."""

    Controls = SharedControls
    exact = False

    latent: Grid
    options: SharedOptions
    progress: Tensor

    def __init__(
        self,
        space: Space,
        conditions: Mapping[str, Space],
        options: SharedOptions,
        *,
        latent: Grid,
        autoencoder: Autoencoder,
    ) -> None:
        super().__init__(space, conditions, options)
        self.latent, self.autoencoder = latent, autoencoder
        self.prior = prior_of(latent, conditions, options)
        self.register_buffer("progress", torch.zeros(()))

    def phases(self) -> Sequence[Phase]:
        options = self.options
        muon = hidden_matrices(self.autoencoder)
        if options.prior == "normal":
            return (Phase("autoencoder", module="autoencoder", muon=muon),)
        share = 1.0 - options.prior_share if options.prior == "flow" else 1.0
        return (
            Phase("autoencoder", module="autoencoder", span=(0.0, share), muon=muon),
            Phase("prior", "prior", span=(share, 1.0), space=self.latent, muon=hidden_matrices(self.prior)),
        )

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        if phase == "prior":
            latents = [(self._posterior_sample(batch.x), batch.condition) for batch in batches]
            self.prior.fit(torch.cat([z for z, _ in latents]), [condition for _, condition in latents])

    @torch.no_grad()
    def on_step_end(self, progress: float, epochs: float, losses: Mapping[str, float]) -> None:
        self.progress.fill_(progress)

    def forward(self, batch: Batch, phase: str = "autoencoder") -> Loss:
        if phase == "prior":
            with torch.no_grad():
                z = self._posterior_sample(batch.x)
            return self.prior(z, batch.condition)
        return self._bound(batch)

    def _bound(self, batch: Batch) -> Loss:
        """Return README, equations 1 to 3: the negative evidence lower bound per value."""
        options, x = self.options, batch.x
        mean, log_variance = self.autoencoder.posterior(x)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        reconstruction, parts = self.autoencoder.reconstruction(z, batch.condition, x)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)  # (B, *latent.shape)
        channels = divergence.reshape(len(x), self.latent.channels, -1).sum(2).mean(0)
        penalised = channels.clamp(min=options.free_bits).sum()
        _, share = self.phases()[0].span
        warm_up = (self.progress / max(options.warm_up * share, 1e-9)).clamp(max=1.0)
        total = (reconstruction + options.beta * warm_up * penalised) / self.autoencoder.num_values(x)
        parts |= {"reconstruction_nats": reconstruction.detach(), "divergence_nats": channels.sum().detach()}
        return Loss(total, parts)

    def _posterior_sample(self, x: Tensor) -> Tensor:
        mean, log_variance = self.autoencoder.posterior(x)
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)

    def void_controls(self, controls: SharedControls) -> dict[str, str]:
        void = (
            {} if self.options.prior == "flow" else dict.fromkeys(("steps", "guidance"), f"prior {self.options.prior}")
        )
        return super().void_controls(controls) | void

    @torch.no_grad()
    def generate(self, request: Request, controls: SharedControls) -> Iterator[Partial]:
        condition = dict(request.condition)
        for z, last in self.prior.sample(request.noise, condition, controls, self.device):
            if last or request.drafts:
                x = self.decode(z, condition, request.noise)
                yield Partial(x, torch.tensor(last, device=x.device).expand(x.shape))

    def encode(self, batch: Batch) -> Tensor:
        return self.autoencoder.posterior(batch.x)[0]

    def decode(self, z: Tensor, condition: Mapping[str, Tensor], noise: Noise) -> Tensor:
        return self.autoencoder.sample(z, condition, noise)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise, draws: int = 64) -> Tensor:
        """Return a lower bound, `(B,)` in nats: README, equation 5.

        The importance-weighted bound (arXiv 1509.00519) of `draws` latents under the standard normal prior.
        """
        mean, log_variance = self.autoencoder.posterior(batch.x)
        weights = []
        for draw in range(draws):
            epsilon = noise.normal("posterior", self.latent.shape, at=draw).to(mean)
            z = mean + torch.exp(0.5 * log_variance) * epsilon
            # ln p(z) − ln q(z|x): the constants of the two normals cancel.
            ratio = 0.5 * (epsilon.square() + log_variance - z.square()).flatten(1).sum(1)
            weights.append(ratio - self.autoencoder.nll(z, batch.condition, batch.x))
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(draws)
