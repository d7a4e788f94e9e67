"""The Fréchet distance between Gaussians fitted to real and to generated features (Heusel et al. 2017, equation 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from .base import FigureInfo, Metric, bootstrap, checked, require_items

_BLOCK = 512  # dimensions
_EXACT = 1e-6  # of the distance, at the very worst
_ROUNDINGS = 64  # of the largest of squares, in each of them


@dataclass(frozen=True)
class Moments:
    """Count, mean `(d,)` and scatter `(d, d)`, the sum of (x - mean)(x - mean)ᵀ, of a set; sets add up."""

    count: float
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, x: Tensor, weights: Tensor | None = None) -> Self:
        """Return the moments of `x` `(N, d)`, each vector counted `weights` times."""
        if weights is None:
            mean = x.mean(0)
            return cls(len(x), mean, _products(x - mean))
        count = float(weights.sum())
        mean = weights @ x / count
        return cls(count, mean, _products((x - mean) * weights.sqrt()[:, None]))

    def __add__(self, other: Moments) -> Moments:
        # Chan, Golub & LeVeque 1979: nothing large is ever subtracted, so the order of batches hardly shows.
        count = self.count + other.count
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.count / count)
        scatter = self.scatter + other.scatter + torch.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, mean, scatter)

    def root(self) -> Tensor:
        """Return a factor of the covariance (ddof 1), `(d, d)` or `(d, rank)`: its product with its transpose."""
        covariance = self.scatter / (self.count - 1)
        if self.count > len(covariance):
            factor, failed = torch.linalg.cholesky_ex(covariance)
            pivots = factor.diagonal().square()
            # Far quicker, and as exact unless the variance in some direction is lost in rounding.
            if not failed and pivots.min() > len(pivots) ** 2 * torch.finfo(pivots.dtype).eps * pivots.max():
                return factor
        values, vectors = torch.linalg.eigh(covariance)
        # Fewer samples than dimensions leave directions without variance; there the values are only rounding.
        real = values > values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
        return vectors[:, real] * values[real].sqrt()


def _products(x: Tensor) -> Tensor:
    """Return xᵀx of `(N, d)`, computing only the blocks on and above the diagonal."""
    width = x.shape[1]
    products = torch.empty(width, width, dtype=x.dtype)
    for start in range(0, width, _BLOCK):
        columns = slice(start, start + _BLOCK)
        block = x[:, columns].T @ x[:, start:]
        products[columns, start:] = block
        products[start:, columns] = block.T
    return products


def distance(a: Moments, b: Moments) -> float:
    """Return ‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½), where tr (Σ₁Σ₂)^½ is the nuclear norm of A₁ᵀA₂ with Σᵢ = AᵢAᵢᵀ.

    Exact also where a covariance is singular: no square root of a matrix, and no ε on its diagonal.
    """
    root_a, root_b = a.root(), b.root()
    product = root_a.T @ root_b
    apart = float((a.mean - b.mean).square().sum() + root_a.square().sum() + root_b.square().sum())
    cross, error = _by_squares(product)
    if not error < _EXACT * abs(apart - 2 * cross):
        cross = float(torch.linalg.svdvals(product).sum())
    return max(0.0, apart - 2 * cross)


def _by_squares(x: Tensor) -> tuple[float, float]:
    """Return the sum of the singular values of `x`, as roots of the eigenvalues of xxᵀ, and a bound of its error.

    Twice as quick, but the rounding error of the largest square is also that of the smallest.
    """
    if not x.numel():
        return 0.0, 0.0
    x = x if x.shape[0] <= x.shape[1] else x.T
    squares = torch.linalg.eigvalsh(x @ x.T).clamp(min=0)
    values = squares.sqrt()
    rounding = _ROUNDINGS * torch.finfo(x.dtype).eps * squares[-1]
    return float(values.sum()), float((rounding / (2 * values)).sum())


class Frechet(Metric):
    """`frechet`: the distance; it falls with the number of samples, so compare at the same number only."""

    figures: ClassVar = {
        "frechet": FigureInfo(
            name="FD",
            meaning="Fréchet distance between Gaussians fitted to the features. It falls with the number of items: "
            "compare it with the value of real data, and between models at equal numbers only.",
            ideal=0.0,
            minimum=0.0,
            published={"inception-2015": "FID"},
        )
    }
    position: ClassVar[int] = 1

    def __init__(self) -> None:
        self.moments: dict[bool, Moments] = {}

    def _add(self, real: bool, moments: Moments) -> None:
        self.moments[real] = self.moments[real] + moments if real in self.moments else moments

    def update(self, features: Any, real: bool) -> None:
        width = next((len(seen.mean) for seen in self.moments.values()), None)
        x = checked(features, width)
        if len(x):
            self._add(real, Moments.of(x))

    def merge(self, other: Self) -> None:
        for real, moments in other.moments.items():
            self._add(real, moments)

    def compute(self) -> dict[str, float]:
        counts = [int(self.moments[side].count) if side in self.moments else 0 for side in (True, False)]
        require_items("the Fréchet distance", 2, *counts)
        return {"frechet": distance(self.moments[True], self.moments[False])}


def interval(
    real: Any, generated: Any, *, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap interval of the distance between two sets of features, `(N, d)` and `(M, d)`.

    It covers the choice of items, not that another training run would give another model.
    """
    a = checked(real)
    b = checked(generated, a.shape[1])
    require_items("the Fréchet distance", 2, len(a), len(b))

    def statistic(weights_a: Tensor, weights_b: Tensor) -> float:
        return distance(Moments.of(a, weights_a), Moments.of(b, weights_b))

    return bootstrap(statistic, real=len(a), generated=len(b), resamples=resamples, level=level, seed=seed)
