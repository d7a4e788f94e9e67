"""Copies of training items, of held-out items and of each other.

A copy is far nearer to one item than to all others around it: the ratio of the distance to the nearest item to the mean
distance to the k nearest is 0 for a copy, and comparable between sparse and dense regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .intervals import fisher_exact, share_interval
from .knn import nearest_neighbours

_NEIGHBOURS = 50
# The ratio of a copy is below this part of the ratio that this share of real items stays below.
_RARE, _NEARER = 0.005, 0.5
_EXACT = 1e-4  # a ratio of 0, up to rounding
_LEAST, _ALPHA = 3, 0.003  # copies, and the p-value, from which on it is a fault
_REFERENCE = 5000  # items that may have been copied, which show how near to each other real items are


@dataclass(frozen=True)
class Copies:
    """How many of `count` items are copies, and how many of `reference_count` real ones are by the same limit.

    `exact` and `reference_exact` of them are at distance 0.
    """

    hits: int
    count: int
    reference_hits: int
    reference_count: int
    exact: int
    reference_exact: int
    ratios: Tensor  # (count,)
    indices: Tensor  # (count,): which item is nearest

    @property
    def share(self) -> float:
        return self.hits / self.count

    @property
    def interval(self) -> tuple[float, float]:
        return share_interval(self.hits, self.count)

    @property
    def reference_share(self) -> float:
        """The share of copies among real items."""
        return self.reference_hits / self.reference_count

    @property
    def p_value(self) -> float:
        """Return the p-value of the hypothesis that copies are no more frequent than among real items.

        By Fisher's exact test: the smaller one of near and of exact copies, times two (Bonferroni). Where many real
        items are nearly equal, only exact copies are evidence.
        """
        near = fisher_exact(self.hits, self.count, self.reference_hits, self.reference_count)
        exact = fisher_exact(self.exact, self.count, self.reference_exact, self.reference_count)
        return min(1.0, 2 * min(near, exact))

    @property
    def detected(self) -> bool:
        return self.hits >= _LEAST and self.p_value < _ALPHA

    def closest(self, count: int) -> list[int]:
        """Return the indices of the items with the smallest ratios, smallest first."""
        return self.ratios.argsort(stable=True)[:count].tolist()


def distance_ratios(
    x: Tensor, among: Tensor, *, own_index: Tensor | None = None, k: int = _NEIGHBOURS
) -> tuple[Tensor, Tensor]:
    """Return the distance to the nearest of `among` over the mean to the k nearest, and the index of the nearest."""
    neighbours = nearest_neighbours(x, among, k, own_index=own_index)
    mean = neighbours.distances.mean(1)
    # Where the k nearest are all one point, all of them are copies.
    ratio = torch.where(mean > 0, neighbours.distances[:, 0] / mean.clamp(min=torch.finfo(mean.dtype).tiny), 0.0)
    return ratio, neighbours.indices[:, 0]


def find_copies(items: Tensor, among: Tensor, real: Tensor | None = None) -> Copies:
    """Find which of `items` `(N, d)` are copies of one of `among` `(M, d)`.

    The rate of copies among real items comes from `real` `(R, d)`, which are independent of `among`, and from `among`
    itself. Leave out `real` where equal items are all in one split: then none of them can be a copy.
    """
    k = min(_NEIGHBOURS, len(among) - 1)
    some = torch.linspace(0, len(among) - 1, min(len(among), _REFERENCE), dtype=torch.float64).long()
    reference = [distance_ratios(among[some], among, own_index=some, k=k)[0]]
    if real is not None:
        reference.append(distance_ratios(real, among, k=k)[0])
    ratio, index = distance_ratios(items, among, k=k)
    return _count(ratio, index, torch.cat(reference))


def find_repeats(generated: Tensor, real: Tensor) -> Copies:
    """Find which generated items are copies of another generated one; `real` `(R, d)` gives the rate of real ones.

    Both are cut to the same number, because nearest neighbours are nearer among more items.
    """
    count = min(len(generated), len(real))
    k, every = min(_NEIGHBOURS, count - 1), torch.arange(count)
    reference, _ = distance_ratios(real[:count], real[:count], own_index=every, k=k)
    return _count(*distance_ratios(generated[:count], generated[:count], own_index=every, k=k), reference)


def _count(ratio: Tensor, index: Tensor, reference: Tensor) -> Copies:
    limit = max(float(reference.quantile(_RARE)) * _NEARER, _EXACT)
    hits, exact = ([int((x <= most).sum()) for x in (ratio, reference)] for most in (limit, _EXACT))
    return Copies(hits[0], len(ratio), hits[1], len(reference), exact[0], exact[1], ratio, index)
