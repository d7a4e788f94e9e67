"""The relative Fréchet distance: where generated items lie between real items (0) and visibly damaged ones (1)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.judge import Comparison, Judge, Sample
from ..core.modality import Modality
from ..core.results import Figure, Results
from ..metrics.frechet import Moments, distance
from .fidelity import figure_name, metrics
from .samples import subsample, take

KEY, NAME = "relative_frechet", "relative"
_LEAST = 10  # items of each side
_ENOUGH = 200  # items of each side, of which damaged ones are further from real ones, or never are
_GROUPS, _GROUPS_FEW = 20, 10  # that the jackknife leaves out, one after the other
_RIDGE, _RIDGE_PROPERTIES = 0.01, 0.1  # of the mean variance; characters and words of a text are nearly the same
_WIDE = 512  # dimensions, from which on a distance takes seconds
_PER_DIRECTION = 10  # items of a side for each direction whose covariances with others count
_PER_DIMENSION, _MOST_OTHERS = 2, 10_000  # other real items for each dimension, so that they can whiten


class Gaps(NamedTuple):
    """How much further than other real items generated items are, and damaged ones; and their covariance `(2, 2)`."""

    generated: float
    damaged: float
    covariance: NDArray[np.float64]
    freedom: int  # degrees of freedom of the covariance


class Sides(NamedTuple):
    """Features `(N, d)` of real items, and of as many generated, other real and visibly damaged items.

    The columns are directions, those whose covariances matter most first.
    """

    real: Tensor
    generated: Tensor
    real_data: Tensor
    damaged: Tensor

    def directions(self) -> int:
        """Return how many directions have covariances that so many items can tell from noise."""
        return min(self.real.shape[1], max(1, min(len(side) for side in self) // _PER_DIRECTION))

    def gaps(self, directions: int) -> NDArray[np.float64]:
        """Return how much further than other real items generated items are, and damaged ones, `(2,)`.

        In the leading directions this is the Fréchet distance; in the others, without covariances between them.
        """
        leading = [Moments.of(side[:, :directions]) for side in self]
        others = [_means_and_deviations(side[:, directions:]) for side in self]

        def apart(side: int) -> float:
            means, deviations = ((a - b).square().sum() for a, b in zip(others[0], others[side], strict=True))
            return distance(leading[0], leading[side]) + float(means + deviations)

        best = apart(2)
        return np.array([apart(1) - best, apart(3) - best])


def _means_and_deviations(x: Tensor) -> tuple[Tensor, Tensor]:
    # `std` warns where there are no columns.
    return (mean := x.mean(0)), ((x - mean).square().sum(0) / (len(x) - 1)).sqrt()


def relative_distance(
    comparison: Comparison[Any], judge: Judge[Any], modality: Modality[Any], results: Results
) -> None:
    """Add the relative distance with its interval, or the reason why it is missing.

    Damaged items are real ones made visibly worse, or the independent baseline, whichever is nearer to real ones.
    """
    frechet = metrics()["frechet"].figures["frechet"]
    extractor = comparison.extractor.name
    name = f"{NAME} {figure_name(frechet, extractor)}"
    candidates = _sides(comparison, judge, modality)
    if not candidates:
        results.skip("there are no visibly damaged items to compare with", name)
        return
    if len(candidates[0].generated) < _LEAST:
        results.skip(f"needs at least {_LEAST} items of each side", name)
        return
    groups = _GROUPS_FEW if candidates[0].real.shape[1] > _WIDE else _GROUPS
    sides = min(candidates, key=lambda one: one.gaps(one.directions())[1])
    gaps = jackknife(sides, groups, comparison.seed)
    interval = ratio_interval(*gaps)
    if (interval is None or math.isinf(interval[1])) and min(len(side) for side in sides) >= _ENOUGH:
        # As in tables of independent columns, which equal their baseline.
        results.skip("damaged items are no further from real ones than other real items are", name)
        return
    if interval is None and gaps.damaged <= 0:
        results.skip("there are too few items to tell damaged ones from real ones", name)
        return
    meaning = (
        "Fréchet distance of whitened features and plain properties, on a scale from other real items (0) to visibly "
        "damaged ones (1), without its bias by the number of items."
    )
    low, high = (None, None) if interval is None else not_negative(interval)
    if high is None or math.isinf(high):
        high, meaning = None, f"{meaning} Too few items for an upper end of the interval."
    results.figures.append(
        Figure(
            name=name,
            key=KEY,
            group="fidelity",
            value=max(0.0, gaps.generated / gaps.damaged if gaps.damaged > 0 else low or 0.0),
            low=low,
            high=high,
            real_data=0.0,
            better="lower",
            extractor=extractor,
            real=len(sides.real),
            generated=len(sides.generated),
            seed=comparison.seed,
            meaning=meaning,
        )
    )


def jackknife(sides: Sides, groups: int, seed: int) -> Gaps:
    """Return both gaps without their bias, and their covariance, by leaving out groups of items.

    The delete-a-group jackknife (Shao & Wu 1989) leaves out a part of every side at once. A Fréchet distance is biased
    by about 1/n times the variance of a side (Chong & Forsyth 2020): long texts, whose features vary less than those of
    short ones, would be nearer to real texts than other real ones are. Quenouille's correction removes that. Distances
    between equal distributions have no slope, and for these the covariance is up to twice too wide: conservative.
    """
    random = torch.Generator().manual_seed(seed)
    groups, directions = min(groups, *(len(side) for side in sides)), sides.directions()
    parts = [torch.randperm(len(side), generator=random) % groups for side in sides]
    remaining = np.array(
        [
            Sides(*(side[part != group] for side, part in zip(sides, parts, strict=True))).gaps(directions)
            for group in range(groups)
        ]
    )
    gaps = groups * sides.gaps(directions) - (groups - 1) * remaining.mean(0)
    covariance = np.cov(remaining.T, ddof=1) * (groups - 1) ** 2 / groups
    return Gaps(float(gaps[0]), float(gaps[1]), covariance, groups - 1)


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


def not_negative(interval: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of a value that cannot be below 0.

    Cut at 0 alone, an interval below it would be (0, 0), as if the value were known exactly. The upper end stays above
    a quarter of half the width: so far it is, by Feldman & Cousins (1998), where the estimate is two standard errors
    below 0.
    """
    low, high = interval
    return max(0.0, low), max(high, (high - low) / 8)


def whitened(sides: Sides, others: Tensor | None = None, ridge: float = _RIDGE) -> Sides:
    """Return features in which real items have unit variance in all directions, the directions in descending order.

    Without it the few directions of the largest variance decide, and these are mostly noise: new real pictures of
    8 x 8, 400 against 300, varied by .64 of the way to blurred ones, and whitened by .03. `others`, real items of
    which none is compared, `(M, d)`, say what to divide by; without them all sides count alike, each about its own
    mean. A side left out would vary more than those whose noise is divided by itself, and with few items nothing else
    would be left to see: of 30 in 128 dimensions, half of the way was .01. Variances are shrunk to their mean as far
    as so few items ask for (oracle approximating shrinkage, Chen et al. 2010), and a ridge keeps constant directions
    from being enlarged.
    """
    centred = torch.cat([x - x.mean(0) for x in (sides if others is None else (others,))])
    count, width = centred.shape
    covariance = centred.T @ centred / count
    mean, square = float(covariance.trace()) / width, float(covariance.square().mean())
    excess = (count + 1) * (square - mean**2 / width)
    shrinkage = min(1.0, (square + mean**2) / excess) if excess > 0 else 1.0
    values, vectors = torch.linalg.eigh(covariance)
    tiny = torch.finfo(values.dtype).tiny
    scales = (1 - shrinkage) * values.clamp(min=0) + max((shrinkage + ridge) * mean, tiny)
    return Sides(*(x @ (vectors * scales.rsqrt()).flip(1) for x in sides))


def _sides(comparison: Comparison[Any], judge: Judge[Any], modality: Modality[Any]) -> list[Sides]:
    """Return what to compare, once for each kind of damaged items, as many of each side."""
    random = torch.Generator().manual_seed(comparison.seed)
    damaged = [one for one in (comparison.degraded, comparison.baseline) if one is not None]
    if not damaged:
        return []
    matched, others = comparison.train_matched, _others(comparison, modality)
    samples = [comparison.real, comparison.generated, *damaged, *(one for one in (matched, others) if one is not None)]
    tables = [judge.properties(sample.items, comparison.passages) for sample in samples]
    reference = tables[0]
    names = [name for name in reference if reference[name].std() > 0 and all(name in table for table in tables)]

    def columns(sample: Sample[Any]) -> Tensor:
        """Return the ranks of properties among real ones and the features, `(N, p + d)`."""
        table = next(table for table, one in zip(tables, samples, strict=True) if one is sample)
        properties = [torch.from_numpy(_ranks(table[name], reference[name]))[:, None] for name in names]
        return torch.cat([*properties, sample.features.double()], dim=1)

    real = columns(comparison.real)
    if matched is not None:
        real_data = columns(matched)
    else:  # half of the held-out items stands for other real ones
        order = torch.randperm(len(real), generator=random)
        real, real_data = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
    count = min(len(comparison.generated), len(real_data), *map(len, damaged))

    def some(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=random)[:count]]

    generated, real_data = some(columns(comparison.generated)), some(real_data)
    chosen = columns(others) if others is not None else None
    # Properties stand first, because features can miss what these see, such as the length of a text.
    blocks = [(slice(len(names), None), _RIDGE)]
    if names:
        blocks.insert(0, (slice(0, len(names)), _RIDGE_PROPERTIES))
    candidates = []
    for one in damaged:
        sides = Sides(real, generated, real_data, some(columns(one)))
        parts = [
            whitened(Sides(*(x[:, block] for x in sides)), None if chosen is None else chosen[:, block], ridge)
            for block, ridge in blocks
        ]
        candidates.append(Sides(*(torch.cat(part, dim=1) for part in zip(*parts, strict=True))))
    return candidates


def _ranks(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean rank of each value among the reference, of unit variance for a continuous one.

    Ranks have bounds: a digit in one text of a hundred, ten standard deviations, would be most of the noise.
    """
    ordered = np.sort(reference)
    below, up_to = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return np.asarray(below + up_to, dtype=np.float64) * (12**0.5 / 2 / len(reference))


def _others(comparison: Comparison[Any], modality: Modality[Any]) -> Sample[Any] | None:
    """Return unseen training items of which none is compared; None: these are too few to whiten by."""
    unseen, matched = comparison.unseen_train, comparison.train_matched
    if unseen is None or matched is None:
        return None
    compared = {row.tobytes() for row in matched.features.numpy()}
    indices = [index for index, row in enumerate(unseen.features.numpy()) if row.tobytes() not in compared]
    if len(indices) < _PER_DIMENSION * unseen.features.shape[1]:
        return None
    return subsample(take(unseen, indices, modality), _MOST_OTHERS, comparison.seed, modality)
