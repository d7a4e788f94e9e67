"""The log-likelihood of data under a denoiser, by its probability-flow ODE."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from ..core.model import Predict
from ..core.noise import Noise
from .path import Path


def ode_log_likelihood(path: Path, predict: Predict, x: Tensor, times: Tensor, noise: Noise, probes: int = 1) -> Tensor:
    """Nats `(B,)` of the density at x `(B, *shape)`, standardised data at `times[-2]` (arXiv 2011.13456, Equation 39).

    Integrates x and the divergence of its velocity with Heun's method from the data end to the noise end. The
    divergence is Hutchinson's unbiased estimate with `probes` sign vectors (arXiv 1810.01367). `times` run from noise
    to data and end at the data, as for sampling; the last one is left out, for there the velocity may be singular.
    """
    signs = [
        noise.uniform(f"probe-{index}", tuple(x.shape[1:])).to(x.device).sub(0.5).sign() for index in range(probes)
    ]

    def rates(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            velocity = path.velocity(predict(x, t), t)
            divergence = torch.zeros(len(x), device=x.device)
            for index, sign in enumerate(signs):
                keep = index + 1 < len(signs)
                (product,) = torch.autograd.grad(velocity, x, sign.to(velocity.dtype), retain_graph=keep)
                divergence = divergence + (product * sign).flatten(1).sum(1) / len(signs)
        return velocity.detach(), divergence.detach()

    ascending = times[:-1].flip(0)
    x = x.detach()
    change = torch.zeros(len(x), device=x.device)
    for t, following in pairwise(ascending):
        step = following - t
        now = t.reshape((1,) * x.dim())
        velocity, divergence = rates(x, now)
        ahead, divergence_ahead = rates(x + step * velocity, following.reshape((1,) * x.dim()))
        x = x + step * (velocity + ahead) / 2
        change = change + step * (divergence + divergence_ahead) / 2
    # At the noise end x has the variance of α² + σ² for data of unit variance.
    end = ascending[-1]
    variance = (path.alpha(end).square() + path.sigma(end).square()).clamp(min=1e-12)
    log_prior = -0.5 * (x.square() / variance + torch.log(2 * math.pi * variance)).flatten(1).sum(1)
    return log_prior + change
