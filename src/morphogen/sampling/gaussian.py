"""Gaussian diffusion around any network: its training loss, and its prediction. Used by every family that denoises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from ..core.model import Prediction
from .path import Path, Target

Network = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]  # (x, noise level (B,), condition) -> x's shape
NoiseLevels = Literal["lognormal", "uniform"]


def training_times(
    path: Path, count: int, *, levels: NoiseLevels, mean: float, spread: float, device: torch.device
) -> Tensor:
    """Times `(count,)`: ln(σ/α) ~ N(mean, spread²) as in arXiv 2206.00364, Table 1, or uniform on the path's own axis.

    Stratified over the batch, which lowers the variance of the loss (arXiv 2107.00630, appendix I.1).
    """
    u = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    if levels == "uniform":
        return path.end + (path.start - path.end) * u.clamp(1e-4, 1 - 1e-4)
    normal = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
    return path.time((mean + spread * normal).exp())


def denoising_loss(
    path: Path,
    network: Network,
    data: Tensor,
    condition: Mapping[str, Tensor],
    *,
    prediction: Target,
    levels: NoiseLevels,
    mean: float,
    spread: float,
) -> Tensor:
    """The squared error of what the network says, in its own parametrisation, a scalar; `data` of unit variance."""
    times = training_times(path, len(data), levels=levels, mean=mean, spread=spread, device=data.device)
    t = times.reshape(-1, *(1,) * (data.dim() - 1))
    noise = torch.randn_like(data)
    output = _evaluate(path, network, path.mix(data, noise, t), t, condition)
    error = (output - path.target(prediction, data, noise, t)).square().flatten(1).mean(1)
    if prediction == "data":
        # Min-SNR-5 (arXiv 2303.09556): without a bound the cleanest samples would drown all others.
        error = error * path.noise_level(times).square().reciprocal().clamp(max=5)
    return error.mean()


def predict(
    path: Path, network: Network, x: Tensor, t: Tensor, condition: Mapping[str, Tensor], *, prediction: Target
) -> Prediction:
    """Data and noise at x `(B, *shape)`; t is one number, or one per sample, broadcastable against x."""
    return path.prediction(prediction, _evaluate(path, network, x, t, condition), x, t)


def _evaluate(path: Path, network: Network, x: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
    # c_in of arXiv 2206.00364 for data of unit variance: what the network sees has unit variance at every level.
    alpha, sigma = path.alpha(t), path.sigma(t)
    scaled = x / (alpha.square() + sigma.square()).sqrt()
    return network(scaled, (sigma / alpha).reshape(-1).expand(len(x)), condition)
