"""Standard errors and intervals of figures, and tests of counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Figures = dict[str, float]
SIGNIFICANT = 1e-3  # p-value below which a difference counts as real


def halves(
    figures: Callable[[Tensor, Tensor], Figures], first: Tensor, second: Tensor, *, draws: int = 30, seed: int = 0
) -> dict[str, float]:
    """Return the standard error of each figure of two sets, by subsampling half of both without replacement.

    The bootstrap would repeat items, which then are their own nearest neighbours. A half repeats none, and the spread
    of a figure over halves estimates its spread over new samples of the full size (Politis & Romano 1994, with samples
    of half the size): no factor is needed. The estimate is up to √3 times too large for figures without slope, such as
    distances between equal distributions, and up to twice for figures of nearest neighbours: conservative.
    """
    random = torch.Generator().manual_seed(seed)
    draws_of_figures: list[Figures] = []
    for _ in range(draws):
        parts = [x[torch.randperm(len(x), generator=random)[: len(x) // 2]] for x in (first, second)]
        draws_of_figures.append(figures(*parts))
    return {name: float(np.std([one[name] for one in draws_of_figures], ddof=1)) for name in draws_of_figures[0]}


def normal_interval(value: float, error: float) -> tuple[float, float]:
    """Return the 95 % interval of a figure with this standard error."""
    return value - 1.96 * error, value + 1.96 * error


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), which holds near 0 and 1, too."""
    z, share = 1.96, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # At shares of 0 and 1 one end is the share itself; rounding must not exclude it.
    return min(share, max(0.0, float(middle - half))), max(share, min(1.0, float(middle + half)))


def fisher_exact(hits: int, count: int, other_hits: int, other_count: int) -> float:
    """Return the p-value of Fisher's exact test that the first share of hits is no larger than the other."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(hits - 1, count + other_count, hits + other_hits, count))


def auc(positive: Tensor, negative: Tensor) -> tuple[float, float]:
    """Return the area under the ROC curve, ties counting half, and its standard error (Hanley & McNeil 1982)."""
    scores = torch.cat([positive, negative]).double()
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    below = counts.cumsum(0) - counts
    ranks = (below + (counts + 1) / 2)[inverse]
    m, n = len(positive), len(negative)
    area = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    return area, auc_error(area, m, n)


def auc_error(area: float, positive: int, negative: int) -> float:
    """Return the standard error of an area under the ROC curve of so many scores (Hanley & McNeil 1982)."""
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2)
    return max(variance / (positive * negative), 0.0) ** 0.5
