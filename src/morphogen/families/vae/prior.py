"""Priors of latents, fitted to the aggregate posterior, so that samples come from where the encoder maps data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.model import Loss, Prediction
from ...core.noise import Noise
from ...core.space import Grid, Space, Tokens
from ...nn.denoiser import DenoiserNetwork
from ...sampling.gaussian import denoising_loss, predict
from ...sampling.guidance import classifier_free
from ...sampling.schedule import Linear
from ...sampling.solvers.heun import Heun
from .options import Controls, SharedOptions

Draft = tuple[Tensor, bool]  # latents, and whether they are the sample


class NormalPrior(nn.Module):
    """The standard normal of the bound; nothing is fitted."""

    def __init__(self, latent: Grid) -> None:
        super().__init__()
        self.latent = latent

    def fit(self, z: Tensor, conditions: Sequence[Mapping[str, Tensor]]) -> None:
        """Do nothing."""

    def forward(self, z: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        raise UserError("a normal prior has no loss: it is not trained")

    def sample(
        self, noise: Noise, condition: Mapping[str, Tensor], controls: Controls, device: torch.device
    ) -> Iterator[Draft]:
        yield controls.temperature * noise.normal("start", self.latent.shape).to(device), True


class MixturePrior(nn.Module):
    """A Gaussian mixture of latents; under a class, a component is weighted by how much the class uses it."""

    means: Tensor
    factors: Tensor
    weights: Tensor

    def __init__(self, latent: Grid, conditions: Mapping[str, Space], components: int) -> None:
        super().__init__()
        self.latent, self.components = latent, components
        self.classes: list[str] = []
        for name, space in conditions.items():
            if not isinstance(space, Tokens) or space.size != (1,):
                raise UserError(
                    f"a mixture prior needs classes as conditions, and '{name}' is none; choose --options.prior flow"
                )
            self.register_buffer(f"usage_{len(self.classes)}", torch.full((space.vocab, components), 1.0 / components))
            self.classes.append(name)
        size = latent.dimensions
        self.register_buffer("means", torch.zeros(components, size))
        self.register_buffer("factors", torch.eye(size).repeat(components, 1, 1))
        self.register_buffer("weights", torch.full((components,), 1.0 / components))

    def fit(self, z: Tensor, conditions: Sequence[Mapping[str, Tensor]]) -> None:
        """Fit to latents `(N, *latent.shape)` by expectation maximisation."""
        from sklearn.mixture import GaussianMixture

        vectors = z.flatten(1).double().cpu().numpy()
        used = min(self.components, len(vectors))  # components without an item have weight 0
        if len(vectors) == 1:
            vectors = vectors.repeat(2, 0)  # scikit-learn needs two
        fitted = GaussianMixture(used, reg_covar=1e-4, max_iter=100, random_state=0).fit(vectors)
        self.means[:used].copy_(torch.as_tensor(fitted.means_))
        self.factors[:used].copy_(torch.linalg.cholesky(torch.as_tensor(fitted.covariances_)))
        self.weights.zero_()
        self.weights[:used].copy_(torch.as_tensor(fitted.weights_))
        responsibility = torch.zeros(len(z), self.components)
        responsibility[:, :used] = torch.as_tensor(fitted.predict_proba(vectors), dtype=torch.float32)[: len(z)]
        for index, name in enumerate(self.classes):
            usage = getattr(self, f"usage_{index}")
            label = torch.cat([condition[name].reshape(-1).cpu() for condition in conditions])
            known = label >= 0
            total = torch.zeros(len(usage), self.components).index_add_(0, label[known], responsibility[known])
            total += 1e-6 * (self.weights.cpu() > 0)
            usage.copy_(total / total.sum(1, keepdim=True))

    def forward(self, z: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        raise UserError("a mixture prior has no loss: it is fitted at once")

    def sample(
        self, noise: Noise, condition: Mapping[str, Tensor], controls: Controls, device: torch.device
    ) -> Iterator[Draft]:
        weights = self.weights.expand(len(noise), -1)
        for index, name in enumerate(self.classes):
            if name in condition:
                label = condition[name].reshape(-1)
                usage = getattr(self, f"usage_{index}")[label.clamp(min=0)] / self.weights.clamp(min=1e-12)
                weights = torch.where((label >= 0).unsqueeze(1), weights * usage, weights)
        cumulative = (weights / weights.sum(1, keepdim=True)).cumsum(1)
        uniform = noise.uniform("component", (1,)).to(device)
        component = (uniform > cumulative).sum(1).clamp(max=self.components - 1)
        epsilon = controls.temperature * noise.normal("start", (self.latent.dimensions,)).to(device)
        z = self.means[component] + (self.factors[component] @ epsilon.unsqueeze(2)).squeeze(2)
        yield z.reshape(-1, *self.latent.shape), True


class FlowPrior(nn.Module):
    """Flow matching from noise to standardised latents, with the linear schedule (arXiv 2210.02747)."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, latent: Grid, conditions: Mapping[str, Space], *, width: int, blocks: int, condition_dropout: float
    ) -> None:
        super().__init__()
        self.latent, self.schedule = latent, Linear()
        self.network = DenoiserNetwork(
            latent,
            conditions,
            widths=(width,),
            blocks=(blocks,),
            patch=1,
            dropout=0.0,
            condition_dropout=condition_dropout,
        )
        cells = (1,) * len(latent.size)
        self.register_buffer("mean", torch.zeros(latent.channels, *cells))
        self.register_buffer("deviation", torch.ones(latent.channels, *cells))

    def fit(self, z: Tensor, conditions: Sequence[Mapping[str, Tensor]]) -> None:
        """Set mean and deviation of each channel, from latents `(N, *latent.shape)`."""
        axes = [0, *range(2, z.dim())]
        self.mean.copy_(z.mean(axes).reshape(self.mean.shape))
        self.deviation.copy_(z.std(axes, correction=0).reshape(self.mean.shape).clamp(min=1e-4))

    def forward(self, z: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        z = (z - self.mean) / self.deviation
        total = denoising_loss(
            self.schedule,
            self.network,
            z,
            condition,
            prediction="velocity",
            noise_levels="lognormal",
            log_sigma_mean=-0.4,
            log_sigma_std=1.2,
        )
        return Loss(total)

    def _predict(self, x: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Prediction:
        return predict(self.schedule, self.network, x, t, condition, prediction="velocity")

    def sample(
        self, noise: Noise, condition: Mapping[str, Tensor], controls: Controls, device: torch.device
    ) -> Iterator[Draft]:
        guided = classifier_free(
            lambda x, t: self._predict(x, t, condition),
            lambda x, t: self._predict(x, t, {}),
            scale=controls.guidance if condition else 1.0,
            schedule=self.schedule,
        )
        x = controls.temperature * noise.normal("start", self.latent.shape).to(device)
        times = self.schedule.karras_times(controls.steps, 0.01, 80.0).to(device)
        for step, draft in enumerate(Heun(churn=0.0).solve(self.schedule, guided, x, times, noise), start=1):
            yield draft.x * self.deviation + self.mean, step == controls.steps


def prior_of(
    latent: Grid, conditions: Mapping[str, Space], options: SharedOptions
) -> FlowPrior | MixturePrior | NormalPrior:
    """Return the prior that the options name, not fitted yet."""
    if options.prior == "flow":
        return FlowPrior(
            latent,
            conditions,
            width=options.prior_width,
            blocks=options.prior_blocks,
            condition_dropout=options.condition_dropout,
        )
    if options.prior == "mixture":
        return MixturePrior(latent, conditions, components=options.components)
    return NormalPrior(latent)
