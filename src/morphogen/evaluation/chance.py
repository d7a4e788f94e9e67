"""How much of a figure is chance: intervals of a figure, and the odds of a count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Figures = dict[str, float]
CERTAIN = 1e-3  # probability below which a difference is no chance


def halves(
    figures: Callable[[Tensor, Tensor], Figures], first: Tensor, second: Tensor, *, draws: int = 30, seed: int = 0
) -> dict[str, float]:
    """The standard error of each figure of two sets of rows, by drawing half of both, without repetition.

    An item that is drawn twice, as in a bootstrap, is its own nearest neighbour and a mode of its own. Half the items
    leave each once, and the spread of a figure on half of them is that on all, over new items (Politis & Romano 1994,
    of samples of half the size): no factor is needed. Of a figure that has no slope there, as distances of sides that
    are alike, it is √3 times as large, and of nearest neighbours up to twice: rather too much than too little.
    """
    random = torch.Generator().manual_seed(seed)
    found: list[Figures] = []
    for _ in range(draws):
        parts = [x[torch.randperm(len(x), generator=random)[: len(x) // 2]] for x in (first, second)]
        found.append(figures(*parts))
    return {name: float(np.std([one[name] for one in found], ddof=1)) for name in found[0]}


def around(value: float, error: float) -> tuple[float, float]:
    """The 95 % interval of a figure with that standard error."""
    return value - 1.96 * error, value + 1.96 * error


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), which is right near 0 and 1, too."""
    z, share = 1.96, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # At none and at all the share itself is an end, but for rounding.
    return min(share, max(0.0, float(middle - half))), max(share, min(1.0, float(middle + half)))


def more_often(hits: int, count: int, other_hits: int, other_count: int) -> float:
    """The probability of so many hits or more among `count`, were both alike (Fisher's exact test, one-sided)."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(hits - 1, count + other_count, hits + other_hits, count))


def auc(positive: Tensor, negative: Tensor) -> tuple[float, float]:
    """The area under the curve of scores, ties counting half, and its standard error (Hanley & McNeil 1982)."""
    order = torch.cat([positive, negative]).double()
    _, inverse, counts = order.unique(return_inverse=True, return_counts=True)
    below = counts.cumsum(0) - counts
    ranks = (below + (counts + 1) / 2)[inverse]
    m, n = len(positive), len(negative)
    area = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    return area, area_error(area, m, n)


def area_error(area: float, positive: int, negative: int) -> float:
    """The standard error of an area under the curve of so many scores (Hanley & McNeil 1982)."""
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2)
    return max(variance / (positive * negative), 0.0) ** 0.5
