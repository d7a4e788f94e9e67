"""An independent Gaussian for each cell and class, fitted by maximum likelihood; exact where values are missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, GenerativeModel, LikelihoodModel, Loss, Partial, Phase, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Space, Tokens

from .options import Controls, Options


class Gaussian(GenerativeModel, LikelihoodModel):
    """Means and standard deviations in a table with one row per class, the last for the null."""

    Options = Options
    Controls = Controls
    supports_given = True
    exact = True

    def __init__(self, space: Grid, conditions: Mapping[str, Space], options: Options) -> None:
        super().__init__(space, conditions, options)
        classes = [one for one in conditions.values() if isinstance(one, Tokens)]
        if len(classes) != len(conditions) or len(classes) > 1:
            raise UserError(f"this family takes one class as its condition, found {sorted(conditions)}")
        rows = 1 + sum(one.vocab for one in classes)
        self.mean = nn.Parameter(torch.zeros(rows, *space.shape))
        self.log_deviation = nn.Parameter(torch.zeros(rows, *space.shape))

    def phases(self) -> Sequence[Phase]:
        return (Phase(lr=0.05),)

    def _moments(self, condition: Mapping[str, Tensor], count: int) -> tuple[Tensor, Tensor]:
        row = torch.full((count,), len(self.mean) - 1, device=self.device)
        for label in condition.values():
            row = torch.where(label.reshape(-1) < 0, row, label.reshape(-1))
        return self.mean[row], self.log_deviation[row].exp() + self.options.floor

    def log_likelihood(self, batch: Batch, noise: Noise | None = None) -> Tensor:
        mean, deviation = self._moments(batch.condition, len(batch.x))
        each = -0.5 * ((batch.x - mean) / deviation).square() - deviation.log() - 0.5 * math.log(2 * math.pi)
        return each.flatten(1).sum(1)

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        # The null row learns from every item as well.
        nats = self.log_likelihood(batch) + self.log_likelihood(Batch(batch.x))
        return Loss(-nats.mean() / self.space.dimensions)

    def generate(self, request: Request, controls: Controls) -> Iterator[Partial]:
        mean, deviation = self._moments(request.condition, len(request))
        x = mean + controls.temperature * deviation * request.noise.normal("start", self.space.shape).to(mean.device)
        known = torch.ones((1,) * x.ndim, dtype=torch.bool, device=x.device)
        if request.given is not None:
            x = torch.where(request.given.known, request.given.x, x)
        yield Partial(x, known)
