"""The relative Fréchet distance: where generated items lie between real items (0) and visibly damaged ones (1)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.judge import Comparison
from ..core.results import Figure, Results
from ..metrics.frechet import Moments, distance
from .fidelity import figure_name, metrics

KEY, NAME = "relative_frechet", "relative"
_LEAST = 10  # items of each side
_ENOUGH = 200  # items of each side, of which damaged ones are further from real ones, or never are
_GROUPS, _GROUPS_FEW = 20, 10  # that the jackknife leaves out, one after the other
_RIDGE = 0.01  # of the mean variance
_WIDE = 512  # dimensions, from which on a distance takes seconds


class Sides(NamedTuple):
    """Features `(N, d)` of real items, and of as many generated, other real and visibly damaged items."""

    real: Tensor
    generated: Tensor
    real_data: Tensor
    damaged: Tensor

    def gaps(self) -> tuple[float, float]:
        """Return how much further than real data generated items are, and damaged ones: by the Fréchet distance."""
        real, generated, real_data, damaged = (Moments.of(side) for side in self)
        best = distance(real, real_data)
        return distance(real, generated) - best, distance(real, damaged) - best


def relative_distance(comparison: Comparison[Any], results: Results) -> None:
    """Add the relative distance with its interval, or the reason why it is missing.

    Damaged items are real ones made visibly worse, or the independent baseline, whichever is nearer to real ones.
    """
    frechet = metrics()["frechet"].figures["frechet"]
    extractor = comparison.extractor.name
    name = f"{NAME} {figure_name(frechet, extractor)}"
    candidates = _sides(comparison)
    if not candidates:
        results.skip("there are no visibly damaged items to compare with", name)
        return
    if len(candidates[0].generated) < _LEAST:
        results.skip(f"needs at least {_LEAST} items of each side", name)
        return
    sides = min(candidates, key=lambda one: one.gaps()[1])
    gap, scale = sides.gaps()
    groups = _GROUPS_FEW if comparison.quick or sides.real.shape[1] > _WIDE else _GROUPS
    interval = ratio_interval(gap, scale, *jackknife(sides, groups, comparison.seed))
    if (interval is None or math.isinf(interval[1])) and min(len(side) for side in sides) >= _ENOUGH:
        # As in tables of independent columns, which equal their baseline.
        results.skip("damaged items are no further from real ones than other real items are", name)
        return
    if interval is None and scale <= 0:
        results.skip("there are too few items to tell damaged ones from real ones", name)
        return
    meaning = (
        "Fréchet distance of whitened features, on a scale from other real items (0) to visibly damaged ones (1), at "
        "equal numbers of items."
    )
    low, high = interval or (None, None)
    if high is None or math.isinf(high):
        high, meaning = None, f"{meaning} Too few items for an upper end of the interval."
    results.figures.append(
        Figure(
            name=name,
            key=KEY,
            group="fidelity",
            value=max(0.0, gap / scale if scale > 0 else low or 0.0),
            low=None if low is None else max(0.0, low),
            high=None if high is None else max(0.0, high),
            real_data=0.0,
            better="lower",
            extractor=extractor,
            real=len(sides.real),
            generated=len(sides.generated),
            seed=comparison.seed,
            meaning=meaning,
        )
    )


def jackknife(sides: Sides, groups: int, seed: int) -> tuple[NDArray[np.float64], int]:
    """Return the covariance `(2, 2)` of both gaps, and its degrees of freedom, by leaving out groups of items.

    The delete-a-group jackknife (Shao & Wu 1989) leaves out a part of every side at once. Distances between equal
    distributions have no slope, and for these it is up to twice too wide: conservative.
    """
    random = torch.Generator().manual_seed(seed)
    groups = min(groups, *(len(side) for side in sides))
    parts = [torch.randperm(len(side), generator=random) % groups for side in sides]
    gaps = [
        Sides(*(side[part != group] for side, part in zip(sides, parts, strict=True))).gaps() for group in range(groups)
    ]
    return np.cov(np.array(gaps).T, ddof=1) * (groups - 1) ** 2 / groups, groups - 1


def ratio_interval(
    numerator: float, denominator: float, covariance: NDArray[np.float64], freedom: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of a ratio with a positive denominator (Fieller 1954).

    It ends at infinity where the denominator may be 0; None: it has no bounds.
    """
    from scipy.stats import t

    factor = float(t.ppf(0.975, freedom)) ** 2
    a = denominator**2 - factor * float(covariance[1, 1])
    b = numerator * denominator - factor * float(covariance[0, 1])
    c = numerator**2 - factor * float(covariance[0, 0])
    half = max(0.0, b * b - a * c) ** 0.5
    if a > 0 and denominator > 0:
        return (b - half) / a, (b + half) / a
    if a < 0 < c and numerator > 0:
        return (b - half) / a, math.inf
    return None


def whitened(sides: Sides) -> Sides:
    """Return features in which real items have unit variance in all directions.

    Without it the few directions of the largest variance decide, and these are mostly noise: new real pictures of
    8 x 8, 400 against 300, varied by .64 of the way to blurred ones, and whitened by .03. Generated and other real
    items count alike, each about their own mean, so that equal distributions stay equally far; the ridge keeps
    directions from being enlarged that so few items cannot tell from constant ones.
    """
    centred = torch.cat([x - x.mean(0) for x in (sides.real, sides.generated, sides.real_data)])
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    scales = values.clamp(min=0) + max(_RIDGE * float(values.mean()), torch.finfo(values.dtype).tiny)
    return Sides(*(x @ (vectors * scales.rsqrt()) for x in sides))


def _sides(comparison: Comparison[Any]) -> list[Sides]:
    """Return the whitened features to compare, once for each kind of damaged items, as many of each side."""
    random = torch.Generator().manual_seed(comparison.seed)
    damaged = [one.features for one in (comparison.degraded, comparison.baseline) if one is not None]
    real = comparison.real.features
    if comparison.train_matched is not None:
        real_data = comparison.train_matched.features
    else:  # half of the held-out items stands for other real ones
        order = torch.randperm(len(real), generator=random)
        real, real_data = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
    count = min(len(side) for side in (comparison.generated.features, real_data, *damaged))

    def some(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=random)[:count]].double()

    generated, other = some(comparison.generated.features), some(real_data)
    return [whitened(Sides(real.double(), generated, other, some(one))) for one in damaged]
