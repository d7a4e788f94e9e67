"""Priors over latents, learned on the aggregate posterior so that no sample comes from a hole in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.model import Loss, Prediction
from ...core.noise import Noise
from ...core.space import Continuous, Space, Tokens
from ...nn.denoiser import DenoiserNetwork
from ...sampling.gaussian import denoising_loss, predict
from ...sampling.guidance import classifier_free
from ...sampling.path import Straight
from ...sampling.solvers.heun import Heun
from .options import Controls

Draft = tuple[Tensor, bool]  # latents, and whether they are the sample


class NormalPrior(nn.Module):
    """The standard normal that the bound is taken against: nothing is learned."""

    def __init__(self, latent: Continuous) -> None:
        super().__init__()
        self.latent = latent

    def begin(self, z: Tensor, conditions: Sequence[Mapping[str, Tensor]]) -> None:
        """Nothing to set."""

    def forward(self, z: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        raise UserError("a normal prior has no loss: it is not trained")

    def sample(
        self, noise: Noise, condition: Mapping[str, Tensor], controls: Controls, device: torch.device
    ) -> Iterator[Draft]:
        yield controls.temperature * noise.normal("start", self.latent.shape).to(device), True


class MixturePrior(nn.Module):
    """A Gaussian mixture over latents; under a class, components weigh as much as the class uses them."""

    means: Tensor
    factors: Tensor
    weights: Tensor

    def __init__(self, latent: Continuous, conditions: Mapping[str, Space], components: int) -> None:
        super().__init__()
        self.latent, self.components = latent, components
        self.classes: list[str] = []
        for name, space in conditions.items():
            if not isinstance(space, Tokens) or not isinstance(space.vocab, int) or space.size != (1,):
                raise UserError(f"a mixture prior takes classes as conditions, not '{name}'; use --options.prior flow")
            self.register_buffer(f"usage_{len(self.classes)}", torch.full((space.vocab, components), 1.0 / components))
            self.classes.append(name)
        size = latent.dimensions
        self.register_buffer("means", torch.zeros(components, size))
        self.register_buffer("factors", torch.eye(size).repeat(components, 1, 1))
        self.register_buffer("weights", torch.full((components,), 1.0 / components))

    def begin(self, z: Tensor, conditions: Sequence[Mapping[str, Tensor]]) -> None:
        """Fit by expectation maximisation."""
        from sklearn.mixture import GaussianMixture

        rows = z.flatten(1).double().cpu().numpy()
        used = min(self.components, len(rows))  # components without an item keep no weight
        if len(rows) == 1:
            rows = rows.repeat(2, 0)  # scikit-learn wants two
        fitted = GaussianMixture(used, reg_covar=1e-4, max_iter=100, random_state=0).fit(rows)
        self.means[:used].copy_(torch.as_tensor(fitted.means_))
        self.factors[:used].copy_(torch.linalg.cholesky(torch.as_tensor(fitted.covariances_)))
        self.weights.zero_()
        self.weights[:used].copy_(torch.as_tensor(fitted.weights_))
        share = torch.zeros(len(z), self.components)
        share[:, :used] = torch.as_tensor(fitted.predict_proba(rows), dtype=torch.float32)[: len(z)]
        for index, name in enumerate(self.classes):
            usage = getattr(self, f"usage_{index}")
            label = torch.cat([condition[name].reshape(-1).cpu() for condition in conditions])
            known = label >= 0
            counted = torch.zeros(len(usage), self.components).index_add_(0, label[known], share[known])
            counted += 1e-6 * (self.weights.cpu() > 0)
            usage.copy_(counted / counted.sum(1, keepdim=True))

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
        chosen = (uniform > cumulative).sum(1).clamp(max=self.components - 1)
        epsilon = controls.temperature * noise.normal("start", (self.latent.dimensions,)).to(device)
        z = self.means[chosen] + (self.factors[chosen] @ epsilon.unsqueeze(2)).squeeze(2)
        yield z.reshape(-1, *self.latent.shape), True


class FlowPrior(nn.Module):
    """A flow from noise to standardised latents: flow matching with the straight path (arXiv 2210.02747)."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, latent: Continuous, conditions: Mapping[str, Space], *, width: int, blocks: int, condition_drop: float
    ) -> None:
        super().__init__()
        self.latent, self.path = latent, Straight()
        self.network = DenoiserNetwork(
            latent, conditions, widths=(width,), blocks=(blocks,), patch=1, dropout=0.0, condition_drop=condition_drop
        )
        cells = (1,) * len(latent.size)
        self.register_buffer("mean", torch.zeros(latent.channels, *cells))
        self.register_buffer("deviation", torch.ones(latent.channels, *cells))

    def begin(self, z: Tensor, conditions: Sequence[Mapping[str, Tensor]]) -> None:
        """Standardise each channel of the latents."""
        axes = [0, *range(2, z.dim())]
        self.mean.copy_(z.mean(axes).reshape(self.mean.shape))
        self.deviation.copy_(z.std(axes, correction=0).reshape(self.mean.shape).clamp(min=1e-4))

    def forward(self, z: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        z = (z - self.mean) / self.deviation
        total = denoising_loss(
            self.path,
            self.network,
            z,
            condition,
            prediction="velocity",
            levels="lognormal",
            mean=-0.4,
            spread=1.2,
        )
        return Loss(total)

    def _predict(self, x: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Prediction:
        return predict(self.path, self.network, x, t, condition, prediction="velocity")

    def sample(
        self, noise: Noise, condition: Mapping[str, Tensor], controls: Controls, device: torch.device
    ) -> Iterator[Draft]:
        guided = classifier_free(
            lambda x, t: self._predict(x, t, condition),
            lambda x, t: self._predict(x, t, {}),
            scale=controls.guidance if condition else 1.0,
            path=self.path,
        )
        x = controls.temperature * noise.normal("start", self.latent.shape).to(device)
        times = self.path.karras_times(controls.steps, 0.01, 80.0).to(device)
        for step, draft in enumerate(Heun(churn=0.0).solve(self.path, guided, x, times, noise), start=1):
            yield draft.x * self.deviation + self.mean, step == controls.steps
