"""Gaussian diffusion over any continuous space: one model for flow matching, DDPM and EDM. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ...core.model import Batch, Denoiser, GenerativeModel, LikelihoodModel, Loss, Partial, Prediction, Request
from ...core.noise import Noise
from ...core.space import Continuous, Space
from ...nn.denoiser import DenoiserNetwork
from ...sampling.gaussian import denoising_loss, predict
from ...sampling.guidance import classifier_free
from ...sampling.likelihood import ode_log_likelihood
from ...sampling.path import PATHS
from . import options as settings


class Diffusion(GenerativeModel, Denoiser, LikelihoodModel):
    """Diffusion in data standardised by two buffers, so that every noise level means the same on any data."""

    Options = settings.Options
    Controls = settings.Controls
    accepts: ClassVar[tuple[type, ...]] = (Continuous,)
    exact = False

    mean: Tensor
    deviation: Tensor
    space: Continuous
    options: settings.Options

    def __init__(self, space: Continuous, conditions: Mapping[str, Space], options: settings.Options) -> None:
        patch, blocks = options.depth(space.size)
        # What was settled is what is saved: a later version may settle it otherwise.
        options = options.model_copy(update={"patch": patch, "blocks": blocks})
        super().__init__(space, conditions, options)
        self.path = PATHS[options.path]()
        self.network = DenoiserNetwork(
            space,
            conditions,
            widths=[options.width * min(2, 1 + level) for level in range(len(blocks))],
            blocks=blocks,
            patch=patch,
            dropout=options.dropout,
            condition_drop=options.condition_drop,
        )
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        count, total, squares = 0, 0.0, 0.0
        for batch in batches:
            x = batch.x.double()
            count, total, squares = count + x.numel(), total + x.sum().item(), squares + x.square().sum().item()
        mean = total / count
        self.mean.fill_(mean)
        self.deviation.fill_(max(squares / count - mean**2, 1e-6) ** 0.5)

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """README, equation 4."""
        options = self.options
        total = denoising_loss(
            self.path,
            self.network,
            (batch.x - self.mean) / self.deviation,
            batch.condition,
            prediction=options.prediction,
            levels=options.noise_levels,
            mean=options.noise_mean,
            spread=options.noise_spread,
        )
        return Loss(total)

    def predict(self, x: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Prediction:
        """In standardised data; t is one number, or one per sample, broadcastable against x."""
        return predict(self.path, self.network, x, t, condition, prediction=self.options.prediction)

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        path, condition = self.path, dict(request.condition)
        times = self._times(controls.steps, controls.spacing, controls.noise_low, controls.noise_high)
        start = path.sigma(times[:1]).to(self.device)
        x = start * request.noise.normal("start", self.space.shape).to(self.device)

        guided = classifier_free(
            lambda x, t: self.predict(x, t, condition),
            lambda x, t: self.predict(x, t, {}),
            scale=controls.guidance if condition else 1.0,
            path=path,
            interval=controls.guidance_interval,
        )
        for draft in controls.solver.solve(path, guided, x, times.to(self.device), request.noise):
            yield Partial(draft.x * self.deviation + self.mean, draft.known)

    def _times(self, steps: int, spacing: str, low: float, high: float) -> Tensor:
        # One small Fashion-MNIST model on the straight path, Heun 18, 1500 samples: Fréchet distance 20.6 against 23.9.
        if spacing == "uniform" or (spacing == "auto" and self.options.path == "straight"):
            return self.path.uniform_times(steps)
        return self.path.karras_times(steps, low, high)

    def log_likelihood(self, batch: Batch, noise: Noise, steps: int = 32) -> Tensor:
        """By the probability-flow ODE with Hutchinson's trace (arXiv 2011.13456, appendix D.2).

        With a `step` the values are dequantised uniformly, which makes it a lower bound in expectation.
        """
        x, step = batch.x, self.space.step
        if step:
            x = x + step * (noise.uniform("dequantise", self.space.shape).to(x.device) - 0.5)
        data = (x - self.mean) / self.deviation
        nats = ode_log_likelihood(
            self.path,
            lambda x, t: self.predict(x, t, batch.condition),
            data,
            self.path.karras_times(steps, 0.002, 80.0).to(x.device),
            noise,
        )
        change = torch.log(self.deviation) if not step else torch.log(self.deviation / step)
        return nats - self.space.dimensions * change
