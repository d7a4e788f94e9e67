"""Rows of numbers and choices: numbers are noised, choices are hidden, and one network tells of both. README, 10."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.model import Prediction
from ...core.noise import Noise
from ...core.space import Continuous
from ...sampling.gaussian import NoiseLevels, training_times
from ...sampling.logits import draw
from ...sampling.path import Path, Target

Backbone = Callable[[Tensor, Tensor], Tensor]  # (channels, noise level (B,)) -> channels


def hidden_share(path: Path, t: Tensor) -> Tensor:
    """Of choices, at that time: from none at the data to all at the noise."""
    alpha, sigma = path.alpha(t), path.sigma(t)
    return sigma / (alpha + sigma)


class Mixed:
    """The channels of a space with choices, apart."""

    def __init__(self, space: Continuous) -> None:
        self.choices = space.choices
        self.numbers = space.channels - sum(space.choices)
        ends = [self.numbers + end for end in accumulate(space.choices)]
        self.slices = [slice(end - size, end) for size, end in zip(space.choices, ends, strict=True)]

    def seen(self, x: Tensor, hidden: Tensor) -> Tensor:
        """The channels of choices, all 0 of those that are `hidden` `(B, choices)`."""
        sizes = torch.tensor(self.choices, device=x.device)
        return x[:, self.numbers :] * ~hidden.repeat_interleave(sizes, dim=1)

    def loss(
        self,
        path: Path,
        backbone: Backbone,
        x: Tensor,
        *,
        prediction: Target,
        levels: NoiseLevels,
        mean: float,
        spread: float,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """README, equation 10, of rows x `(B, channels)`: a scalar per number and choice, and its two parts."""
        times = training_times(path, len(x), levels=levels, mean=mean, spread=spread, device=x.device)
        t = times[:, None]
        data = x[:, : self.numbers]
        noise = torch.randn_like(data)
        hidden = torch.rand(len(x), len(self.choices), device=x.device) < hidden_share(path, t)
        output = self.evaluate(path, backbone, path.mix(data, noise, t), self.seen(x, hidden), t)
        error = (output[:, : self.numbers] - path.target(prediction, data, noise, t)).square().sum(1).mean()
        nats = x.new_zeros(())
        for at, own in enumerate(self.slices):
            each = F.cross_entropy(output[:, own], x[:, own].argmax(1), reduction="none")
            nats = nats + (each * hidden[:, at]).mean()
        parts = {"squared_error": error.detach() / max(1, self.numbers), "nats_of_choices": nats.detach()}
        return (error + nats) / (self.numbers + len(self.choices)), parts

    def evaluate(self, path: Path, backbone: Backbone, x: Tensor, seen: Tensor, t: Tensor) -> Tensor:
        """What the network says, `(B, channels)`, of numbers x `(B, numbers)` at t `(B or 1, 1)` and choices seen."""
        alpha, sigma = path.alpha(t), path.sigma(t)
        scaled = x / (alpha.square() + sigma.square()).sqrt()
        level = (sigma / alpha).reshape(-1).expand(len(x))
        return backbone(torch.cat((scaled, seen), dim=1), level)


class Revealing:
    """Predictions for the numbers of rows; while t falls, each choice is drawn when its own time has come.

    A choice is hidden until the share of hidden ones falls below a number drawn for it: what is visible at a time is so
    as in training.
    """

    def __init__(
        self, mixed: Mixed, path: Path, backbone: Backbone, prediction: Target, noise: Noise, device: torch.device
    ) -> None:
        self.mixed, self.path, self.backbone, self.prediction = mixed, path, backbone, prediction
        count = len(mixed.choices)
        self.due = noise.uniform("due", (count,)).to(device)
        self.uniform = noise.uniform("choices", (count,)).to(device)
        self.hidden = torch.ones(self.due.shape, dtype=torch.bool, device=device)
        self.chosen = torch.zeros(len(self.due), sum(mixed.choices), device=device)
        self.said: Tensor | None = None

    def __call__(self, x: Tensor, t: Tensor) -> Prediction:
        self.reveal(hidden_share(self.path, t).reshape(-1, 1) < self.due)
        output = self.mixed.evaluate(self.path, self.backbone, x, self.chosen, t)
        self.said = output[:, self.mixed.numbers :]
        return self.path.prediction(self.prediction, output[:, : self.mixed.numbers], x, t)

    def reveal(self, due: Tensor) -> None:
        """Draw those that are due, bool broadcastable to `(B, choices)`, by what was said last."""
        due = due & self.hidden
        if self.said is None or not bool(due.any()):
            return
        begin = 0
        for at, size in enumerate(self.mixed.choices):
            if bool(due[:, at].any()):
                own = slice(begin, begin + size)
                symbol = draw(self.said[:, own].softmax(1), self.uniform[:, at])
                one = F.one_hot(symbol, size).to(self.chosen.dtype)
                self.chosen[:, own] = torch.where(due[:, at, None], one, self.chosen[:, own])
            begin += size
        self.hidden &= ~due

    def finish(self) -> Tensor:
        """All choices `(B, channels)`, what is hidden still being drawn."""
        self.reveal(torch.ones_like(self.hidden))
        return self.chosen
