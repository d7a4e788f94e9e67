"""Gaussian diffusion with any network: the training loss and the prediction, for every family that denoises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from ..core.model import Prediction
from .schedule import PredictionType, Schedule

Network = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]  # (x, noise level (B,), condition) -> x's shape
NoiseLevels = Literal["lognormal", "uniform"]


def training_times(
    schedule: Schedule,
    count: int,
    *,
    noise_levels: NoiseLevels,
    log_sigma_mean: float,
    log_sigma_std: float,
    device: torch.device,
) -> Tensor:
    """Return random times `(count,)`, stratified over the batch.

    `lognormal`: ln(σ/α) ~ N(log_sigma_mean, log_sigma_std²), as in arXiv 2206.00364, Table 1; `uniform`: t is uniform.
    Stratification lowers the variance of the loss (arXiv 2107.00630, appendix I.1).
    """
    u = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    if noise_levels == "uniform":
        return schedule.end + (schedule.start - schedule.end) * u.clamp(1e-4, 1 - 1e-4)
    normal = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
    return schedule.time((log_sigma_mean + log_sigma_std * normal).exp())


def denoising_loss(
    schedule: Schedule,
    network: Network,
    data: Tensor,
    condition: Mapping[str, Tensor],
    *,
    prediction: PredictionType,
    noise_levels: NoiseLevels,
    log_sigma_mean: float,
    log_sigma_std: float,
) -> Tensor:
    """Return the mean squared error of the network's prediction, a scalar, for `data` of unit variance."""
    times = training_times(
        schedule,
        len(data),
        noise_levels=noise_levels,
        log_sigma_mean=log_sigma_mean,
        log_sigma_std=log_sigma_std,
        device=data.device,
    )
    t = times.reshape(-1, *(1,) * (data.dim() - 1))
    noise = torch.randn_like(data)
    output = _evaluate(schedule, network, schedule.mix(data, noise, t), t, condition)
    error = (output - schedule.target(prediction, data, noise, t)).square().flatten(1).mean(1)
    if prediction == "data":
        # Min-SNR-5 (arXiv 2303.09556): without a bound the cleanest samples would dominate the loss.
        error = error * schedule.noise_level(times).square().reciprocal().clamp(max=5)
    return error.mean()


def predict(
    schedule: Schedule,
    network: Network,
    x: Tensor,
    t: Tensor,
    condition: Mapping[str, Tensor],
    *,
    prediction: PredictionType,
) -> Prediction:
    """Return predicted data and noise at x `(B, *shape)`; t is one number, or one per sample, broadcastable to x."""
    return schedule.prediction(prediction, _evaluate(schedule, network, x, t, condition), x, t)


def _evaluate(schedule: Schedule, network: Network, x: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
    # c_in of arXiv 2206.00364 for data of unit variance: the network's input has unit variance at every level.
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    scaled = x / (alpha.square() + sigma.square()).sqrt()
    return network(scaled, (sigma / alpha).reshape(-1).expand(len(x)), condition)
