"""An independent Gaussian for each cell and class, fitted by maximum likelihood; exact where values are missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, GenerativeModel, LikelihoodModel, Loss, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Continuous, Space

from .options import Controls, Options


class Gaussian(GenerativeModel, LikelihoodModel):
    """Means and standard deviations in a table with one row per class, the last for the null."""

    Options = Options
    Controls = Controls
    accepts: ClassVar[tuple[type, ...]] = (Continuous,)
    fills = True
    exact = True

    def __init__(self, space: Continuous, conditions: Mapping[str, Space], options: Options) -> None:
        super().__init__(space, conditions, options)
        if len(conditions) > 1:
            raise UserError(f"this family takes one condition, found {sorted(conditions)}")
        classes = next(iter(conditions.values())).vocab if conditions else 0
        self.mean = nn.Parameter(torch.zeros(classes + 1, *space.shape))
        self.log_deviation = nn.Parameter(torch.zeros(classes + 1, *space.shape))

    def _parameters_of(self, condition: Mapping[str, Tensor], count: int) -> tuple[Tensor, Tensor]:
        row = torch.full((count,), len(self.mean) - 1)
        for label in condition.values():
            row = torch.where(label.reshape(-1) < 0, row, label.reshape(-1))
        return self.mean[row], self.log_deviation[row].exp() + self.options.floor

    def log_likelihood(self, batch: Batch, noise: Noise | None = None) -> Tensor:
        mean, deviation = self._parameters_of(batch.condition, len(batch.x))
        each = -0.5 * ((batch.x - mean) / deviation).square() - deviation.log() - 0.5 * math.log(2 * math.pi)
        return each.flatten(1).sum(1)

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        # The null row learns from every item as well.
        nats = self.log_likelihood(batch) + self.log_likelihood(Batch(batch.x))
        return Loss(-nats.mean() / self.space.dimensions)

    def generate(self, request: Request, controls: Controls) -> Iterator[Partial]:
        mean, deviation = self._parameters_of(request.condition, len(request))
        x = mean + controls.temperature * deviation * request.noise.normal("start", self.space.shape)
        known = torch.ones((1,) * x.ndim, dtype=torch.bool)
        if request.given is not None:
            x = torch.where(request.given.known, request.given.x, x)
        yield Partial(x, known)
