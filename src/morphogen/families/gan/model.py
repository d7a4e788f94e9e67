"""A generator against a critic, over any continuous space: one evaluation a sample. Equations: README.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...core.condition import forget
from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, Loss, Partial, Phase, Request
from ...core.space import Continuous, Space
from ...nn.critic import Critic
from ...nn.moments import moments
from ...nn.verdicts import critic_loss, distance_from_slope_one, generator_loss, squared_gradient
from . import options as settings
from .augment import augment
from .generator import Generator

# Adaptive augmentation: while the critic ranks more than this share of pairs rightly, more of what it sees is changed,
# at a speed that takes a quarter of the budget from none to all (ADA, arXiv 2006.06676, section 3: r_t of .6).
# Not before each item has been looked at this often: until then the critic knows none by heart, and ranks them rightly
# because the samples are poor. Fashion-MNIST in two and a half minutes, less than one pass: distance 25.9 for 28.4.
_RANKED, _SPEED, _PASSES = 0.9, 4.0, 10
_BETAS = (0.0, 0.99)
# An adaptive γ starts here, and in the first quarter of the budget grows, by a factor of e^(_PULL / 4) were all pairs
# ranked rightly, while the critic ranks more than this share rightly. On Fashion-MNIST in two and a half minutes γ of
# 1, 3, 10 led to shares of .89, .84, .81 and distances of 25.9, 20.6, 27.0.
_GAMMA, _CRITIC_GAMMA, _WANTED, _PULL, _SETTLED = 3.0, 1.0, 0.84, 75.0, 0.25


class GenerativeAdversarialNetwork(GenerativeModel):
    """R3GAN (arXiv 2501.05441): a relativistic game, R1 and R2, no normalisation; or the classics."""

    Options = settings.Options
    Controls = settings.Controls
    accepts: ClassVar[tuple[type, ...]] = (Continuous,)
    # Steps count for more than items: Fashion-MNIST in two and a half minutes came to a distance of 30 in 1,200 steps
    # of 64, and of 21 to 24 in 2,100 of 32 or 2,900 of 16. More than that is worth it, then, where there is the time.
    least_steps = 5000

    space: Continuous
    options: settings.Options
    mean: Tensor
    deviation: Tensor
    augmented: Tensor
    gamma: Tensor
    progress: Tensor

    def __init__(self, space: Continuous, conditions: Mapping[str, Space], options: settings.Options) -> None:
        if space.choices:
            raise UserError(
                "the family 'gan' makes numbers, and rows have choices to make, too; fit a vae, and a gan --through it"
            )
        patch, blocks = options.depth(space.size)
        blocks = blocks if space.size else (sum(blocks),)  # rows have one level
        # What was settled is what is saved: a later version may settle it otherwise.
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
        start = _CRITIC_GAMMA if options.loss == "wasserstein" else _GAMMA
        self.register_buffer("gamma", torch.tensor(start if options.gamma == "adaptive" else options.gamma))
        self.register_buffer("progress", torch.zeros(()))

    def phases(self) -> Sequence[Phase]:
        critic = Phase("critic", trains="critic", optimizer="adamw", betas=_BETAS, lr=1e-3, clip=10.0)
        # A critic for loss 4 has to be near its best (WGAN-GP, Algorithm 1); the others' must not be.
        turns = 5 if self.options.loss == "wasserstein" else 1
        generator = replace(critic, name="generator", trains="generator", every=turns)
        every = self._penalty_every()
        return (critic, generator) if every == 1 else (critic, replace(critic, name="penalty", every=every), generator)

    def _penalty_every(self) -> int:
        return self.options.penalty_every or (1 if self.options.loss == "wasserstein" else 4)

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        if phase != "critic":
            return
        mean, deviation = moments(batches)
        self.mean.fill_(mean)
        self.deviation.fill_(deviation)

    @torch.no_grad()
    def adapt(self, progress: float, passes: float, seen: Mapping[str, float]) -> None:
        ranked, step = seen.get("ranked_rightly"), progress - float(self.progress)
        self.progress.fill_(progress)
        if ranked is None:
            return
        if self.options.augment == "adaptive":
            overfits = ranked > _RANKED and passes > _PASSES
            self.augmented.add_(_SPEED * (step if overfits else -step)).clamp_(0.0, 1.0)
        if self.options.gamma == "adaptive" and self.options.loss != "wasserstein" and progress < _SETTLED:
            self.gamma.mul_(math.exp(_PULL * step * (ranked - _WANTED)))

    def forward(self, batch: Batch, phase: str = "critic") -> Loss:
        real, condition = (batch.x - self.mean) / self.deviation, forget(batch.condition, self.options.condition_drop)
        if phase == "generator":
            return self._play(real, condition)
        with torch.no_grad():
            fake = self._generate(real, condition)
        if phase == "penalty":
            return self._penalise(real, fake, condition)
        loss = self._judge(real, fake, condition)
        if self._penalty_every() > 1:
            return loss
        penalty = self._penalise(real, fake, condition)
        return Loss(loss.total + penalty.total, loss.parts | penalty.parts)

    def _generate(self, like: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        z = torch.randn(len(like), self.options.latent_channels, device=like.device)
        return self.generator(z, condition)

    def _verdict(self, x: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return self.critic(augment(x, self.augmented), condition)

    def _judge(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        of_real, of_fake = self._verdict(torch.cat((real, fake)), _twice(condition)).chunk(2)
        parts = {
            "ranked_rightly": (of_real > of_fake).float().mean().detach(),
            "verdict_gap": (of_real - of_fake).mean().detach(),
            "augmented": self.augmented.clone(),
        }
        return Loss(critic_loss(self.options.loss, of_real, of_fake), parts)

    def _penalise(self, real: Tensor, fake: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        """README, equations 5 and 6."""
        if self.options.loss == "wasserstein":
            slope = distance_from_slope_one(lambda x: self._verdict(x, condition), real, fake)
            parts = {"slope_error": slope.mean().detach()}
        else:
            both = torch.cat((real, fake))
            on_real, on_fake = squared_gradient(lambda x: self._verdict(x, _twice(condition)), both).chunk(2)
            parts = {"gradient_on_data": on_real.mean().detach(), "gradient_on_samples": on_fake.mean().detach()}
            slope = 0.5 * (on_real + on_fake)
        return Loss(self._penalty_every() * self.gamma * slope.mean(), parts | {"gamma": self.gamma.clone()})

    def _play(self, real: Tensor, condition: Mapping[str, Tensor]) -> Loss:
        fake = self._generate(real, condition)
        of_fake = self._verdict(fake, condition)
        if self.options.loss != "relativistic":
            return Loss(generator_loss(self.options.loss, of_fake, of_fake))
        with torch.no_grad():
            of_real = self._verdict(real, condition)
        return Loss(generator_loss("relativistic", of_real, of_fake))

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        z = request.noise.normal("z", (self.options.latent_channels,)).to(self.device)
        x = self.generator(controls.truncation * z, dict(request.condition)) * self.deviation + self.mean
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def _twice(condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For data, and after them samples."""
    return {name: torch.cat((value, value)) for name, value in condition.items()}
