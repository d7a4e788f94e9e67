"""A generative adversarial network of grids: one evaluation a sample. Equations: README.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...core.condition import drop_conditions
from ...core.model import Batch, GenerativeModel, Loss, Partial, Phase, Request
from ...core.space import Grid, Space
from ...nn.critic import Critic
from ...nn.gan_losses import critic_loss, generator_loss, gradient_penalty, squared_gradient
from ...nn.moments import moments
from . import options as settings
from .augment import augment
from .generator import Generator

# Adaptive augmentation: its probability rises while the critic ranks more than this share of pairs correctly, at a
# speed that takes a quarter of the budget from 0 to 1 (ADA, arXiv 2006.06676, section 3: r_t of .6). Not in the first
# epochs: there the critic has memorised nothing, and ranks pairs correctly because the samples are poor. Fashion-MNIST
# in two and a half minutes, less than one epoch: distance 25.9 instead of 28.4.
_OVERFIT_ACCURACY, _AUGMENT_SPEED, _FIRST_EPOCHS = 0.9, 4.0, 10
_BETAS = (0.0, 0.99)
# An adaptive γ starts at _GAMMA and follows the critic's accuracy in the first quarter of the budget, in which it grows
# by a factor of e^(_GAMMA_SPEED (accuracy − _TARGET_ACCURACY) / 4). On Fashion-MNIST in two and a half minutes γ of 1,
# 3, 10 led to accuracies of .89, .84, .81 and distances of 25.9, 20.6, 27.0.
_GAMMA, _TARGET_ACCURACY, _GAMMA_SPEED, _GAMMA_UNTIL = 3.0, 0.84, 75.0, 0.25
_WASSERSTEIN_GAMMA = 1.0


class GridGAN(GenerativeModel):
    """R3GAN (arXiv 2501.05441): the relativistic loss, R1 and R2, no normalisation; or the classic losses."""

    Options = settings.Options
    Controls = settings.Controls
    # More steps are worth more than larger batches: Fashion-MNIST in two and a half minutes came to a distance of 30 in
    # 1,200 steps of 64, and of 21 to 24 in 2,100 of 32 or 2,900 of 16.
    min_steps = 5000

    space: Grid
    options: settings.Options
    mean: Tensor
    deviation: Tensor
    augmented: Tensor
    gamma: Tensor
    progress: Tensor

    def __init__(self, space: Grid, conditions: Mapping[str, Space], options: settings.Options) -> None:
        patch, blocks = options.depth(space.size)
        blocks = blocks if space.size else (sum(blocks),)  # vectors have one level
        # Saved as chosen here, because a later version may choose otherwise.
        options = options.model_copy(update={"patch": patch, "blocks": blocks})
        super().__init__(space, conditions, options)
        shape: dict[str, Any] = {
            "widths": [options.width * min(2, 1 + level) for level in range(len(blocks))],
            "blocks": blocks,
            "patch": patch,
        }
        normalised = options.network == "dcgan"
        self.generator = Generator(space, conditions, latent=options.latent_channels, normalised=normalised, **shape)
        self.critic = Critic(space, conditions, **shape)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))
        self.register_buffer("augmented", torch.tensor(0.0 if options.augment == "adaptive" else options.augment))
        start = _WASSERSTEIN_GAMMA if options.loss == "wasserstein" else _GAMMA
        self.register_buffer("gamma", torch.tensor(start if options.gamma == "adaptive" else options.gamma))
        self.register_buffer("progress", torch.zeros(()))

    def phases(self) -> Sequence[Phase]:
        critic = Phase("critic", module="critic", betas=_BETAS, lr=1e-3, clip=10.0)
        # The wasserstein critic has to be near its optimum (WGAN-GP, Algorithm 1); the others need not.
        generator_every = 5 if self.options.loss == "wasserstein" else 1
        generator = replace(critic, name="generator", module="generator", every=generator_every)
        every = self._penalty_every()
        return (critic, generator) if every == 1 else (critic, replace(critic, name="penalty", every=every), generator)

    def _penalty_every(self) -> int:
        return self.options.penalty_every or (1 if self.options.loss == "wasserstein" else 4)

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        if phase != "critic":
            return
        mean, deviation = moments(batches)
        self.mean.fill_(mean)
        self.deviation.fill_(deviation)

    @torch.no_grad()
    def on_step_end(self, progress: float, epochs: float, losses: Mapping[str, float]) -> None:
        accuracy, step = losses.get("critic_accuracy"), progress - float(self.progress)
        self.progress.fill_(progress)
        if accuracy is None:
            return
        if self.options.augment == "adaptive":
            overfits = accuracy > _OVERFIT_ACCURACY and epochs > _FIRST_EPOCHS
            self.augmented.add_(_AUGMENT_SPEED * (step if overfits else -step)).clamp_(0.0, 1.0)
        if self.options.gamma == "adaptive" and self.options.loss != "wasserstein" and progress < _GAMMA_UNTIL:
            self.gamma.mul_(math.exp(_GAMMA_SPEED * step * (accuracy - _TARGET_ACCURACY)))

    def forward(self, batch: Batch, phase: str = "critic") -> Loss:
        real = (batch.x - self.mean) / self.deviation
        condition = drop_conditions(batch.condition, self.options.condition_dropout)
        if phase == "generator":
            return self._generator_loss(real, condition)
        with torch.no_grad():
            fake = self._generate(real, condition)
        if phase == "penalty":
            return self._penalty(real, fake, condition)
        loss = self._critic_loss(real, fake, condition)
        if self._penalty_every() > 1:
            return loss
        penalty = self._penalty(real, fake, condition)
        return Loss(loss.total + penalty.total, loss.parts | penalty.parts)

    def _generate(self, like: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        z = torch.randn(len(like), self.options.latent_channels, device=like.device)
        return self.generator(z, condition)

    def _score(self, x: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return self.critic(augment(x, self.augmented), condition)

    def _critic_loss(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        real_score, fake_score = self._score(torch.cat((real, fake)), _twice(condition)).chunk(2)
        parts = {
            "critic_accuracy": (real_score > fake_score).float().mean().detach(),
            "score_gap": (real_score - fake_score).mean().detach(),
            "augmented": self.augmented.clone(),
        }
        return Loss(critic_loss(self.options.loss, real_score, fake_score), parts)

    def _penalty(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        """Return the gradient penalty of README, equations 5 and 6."""
        if self.options.loss == "wasserstein":
            penalty = gradient_penalty(lambda x: self._score(x, condition), real, fake)
            parts = {"slope_error": penalty.mean().detach()}
        else:
            both = torch.cat((real, fake))
            r1, r2 = squared_gradient(lambda x: self._score(x, _twice(condition)), both).chunk(2)
            parts = {"r1": r1.mean().detach(), "r2": r2.mean().detach()}
            penalty = 0.5 * (r1 + r2)
        return Loss(self._penalty_every() * self.gamma * penalty.mean(), parts | {"gamma": self.gamma.clone()})

    def _generator_loss(self, real: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        fake = self._generate(real, condition)
        fake_score = self._score(fake, condition)
        if self.options.loss != "relativistic":
            return Loss(generator_loss(self.options.loss, fake_score, fake_score))
        with torch.no_grad():
            real_score = self._score(real, condition)
        return Loss(generator_loss("relativistic", real_score, fake_score))

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        z = request.noise.normal("z", (self.options.latent_channels,)).to(self.device)
        x = self.generator(controls.truncation * z, dict(request.condition)) * self.deviation + self.mean
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def _twice(condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the conditions of real items, and again those of generated ones."""
    return {name: torch.cat((value, value)) for name, value in condition.items()}
