"""A normalising flow of affine coupling layers (Real NVP, arXiv 1605.08803) over any grid of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from morphogen.core.condition import Conditioner
from morphogen.core.model import Batch, GenerativeModel, LikelihoodModel, Loss, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Space

from . import options as settings


class Coupling(nn.Module):
    """Shifts and scales the values outside `mask` by amounts that depend on those inside it."""

    mask: Tensor

    def __init__(self, mask: Tensor, embedding: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.network = nn.Sequential(
            nn.Linear(len(mask) + embedding, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.head = nn.Linear(width, 2 * len(mask))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def move(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return shift and log scale, each `(B, D)`, 0 inside the mask."""
        output = self.head(self.network(torch.cat((x * self.mask, context), dim=1))).float()
        shift, log_scale = output.chunk(2, dim=1)
        return shift * (1 - self.mask), 2 * torch.tanh(log_scale / 2) * (1 - self.mask)


class CouplingFlow(GenerativeModel, LikelihoodModel):
    """Maps data to a standard normal and back; the likelihood is exact up to dequantisation."""

    Options = settings.Options
    Controls = settings.Controls
    exact = False

    def __init__(self, space: Grid, conditions: Mapping[str, Space], options: settings.Options) -> None:
        super().__init__(space, conditions, options)
        self.conditioner = Conditioner(conditions, 32, options.condition_dropout)
        parity = (torch.arange(space.dimensions) % 2).float()
        self.layers = nn.ModuleList(
            Coupling(parity if layer % 2 else 1 - parity, 32, options.width) for layer in range(options.layers)
        )

    def _log_density(self, x: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Return the log-density of x `(B, *shape)`, `(B,)`, in nats: equation 6 of the paper."""
        z, context = x.flatten(1), self.conditioner(condition, x).vector
        volume = torch.zeros(len(x), device=x.device)
        for layer in self.layers:
            shift, log_scale = layer.move(z, context)  # type: ignore[operator]
            z, volume = (z + shift) * log_scale.exp(), volume + log_scale.sum(1)
        return volume - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        x = batch.x + self.space.step * (torch.rand_like(batch.x) - 0.5)
        return Loss(-self._log_density(x, batch.condition).mean() / self.space.dimensions)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        step = self.space.step
        x = batch.x + step * (noise.uniform("dequantise", self.space.shape).to(batch.x) - 0.5)
        return self._log_density(x, batch.condition) + self.space.dimensions * math.log(step or 1)

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        shape = self.space.shape
        x = controls.temperature * request.noise.normal("start", shape).flatten(1).to(self.device)
        context = self.conditioner(request.condition, x).vector
        for index, layer in reversed(list(enumerate(self.layers))):
            shift, log_scale = layer.move(x, context)  # type: ignore[operator]
            x = x * (-log_scale).exp() - shift
            # A draft per layer; the last one is all known, and is the sample.
            yield Partial(x.reshape(len(x), *shape), torch.full((1,) * (1 + len(shape)), index == 0))
