"""The log-likelihood of data under a denoiser, by its probability-flow ODE."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from ..core.model import Predict
from ..core.noise import Noise
from .schedule import Schedule


def ode_log_likelihood(
    schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise, probes: int = 1
) -> Tensor:
    """Return the log density, `(B,)` in nats, at standardised data x `(B, *shape)` (arXiv 2011.13456, Equation 39).

    Integrates u = x_t/√(α² + σ²) and the divergence of its velocity by Heun's method in the angle φ = arctan σ/α, in
    which every schedule is the same circle du/dφ = cos φ noise − sin φ data, smooth at both ends. The divergence is
    Hutchinson's unbiased estimate with `probes` sign vectors (arXiv 1810.01367). `times` run from noise to data, as in
    sampling. The last one, the data themselves, is left out: the density at the noise level before it approximates
    that of the data.
    """
    signs = [
        noise.uniform(f"probe-{index}", tuple(x.shape[1:])).to(x.device).sub(0.5).sign() for index in range(probes)
    ]
    ascending = times[:-1].flip(0)
    alphas, sigmas = schedule.alpha(ascending.double()), schedule.sigma(ascending.double())
    angles, radii = torch.atan2(sigmas, alphas).tolist(), torch.hypot(alphas, sigmas).tolist()

    def rates(u: Tensor, index: int) -> tuple[Tensor, Tensor]:
        t = ascending[index].reshape((1,) * u.dim())
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            prediction = predict(radii[index] * u, t)
            velocity = math.cos(angles[index]) * prediction.noise - math.sin(angles[index]) * prediction.data
            divergence = torch.zeros(len(u), device=u.device)
            for number, sign in enumerate(signs):
                retain = number + 1 < len(signs)
                (product,) = torch.autograd.grad(velocity, u, sign.to(velocity.dtype), retain_graph=retain)
                divergence = divergence + (product * sign).flatten(1).sum(1) / len(signs)
        return velocity.detach(), divergence.detach()

    dimensions = x[0].numel()
    u = math.cos(angles[0]) * x.detach()
    change = torch.full((len(x),), dimensions * math.log(math.cos(angles[0])), device=x.device)
    for index, (angle, following) in enumerate(pairwise(angles)):
        step = following - angle
        velocity, divergence = rates(u, index)
        velocity_ahead, divergence_ahead = rates(u + step * velocity, index + 1)
        u = u + step * (velocity + velocity_ahead) / 2
        change = change + step * (divergence + divergence_ahead) / 2
    # For data of unit variance, u has unit variance at every angle.
    log_prior = -0.5 * (u.square() + math.log(2 * math.pi)).flatten(1).sum(1)
    return log_prior + change
