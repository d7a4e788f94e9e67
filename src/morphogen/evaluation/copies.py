"""Items that are copies of others: of training items, of held-out ones, of each other.

A copy lies far nearer to one item than to all the others around it. The ratio of the distance to the nearest to the
mean distance to the k nearest has no unit, so that sparse and crowded regions compare, and it is 0 for a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .chance import more_often, share_interval
from .neighbours import nearest

_AROUND = 50  # neighbours
_RARE, _NEARER = 0.005, 0.5  # of real items, the share that is nearest to others; and how much nearer a copy is
_EXACT = 1e-4  # a ratio that is 0 but for rounding
_LEAST, _CHANCE = 3, 0.003  # copies, and the probability, from which on it is no chance
_LOOKED_AT = 5000  # of the items that may have been copied, to see how near each other they are


@dataclass(frozen=True)
class Copies:
    """How many of `count` items are copies, and how many of `other_count` real ones would be called so.

    `exact` and `other_exact` of them are at no distance at all.
    """

    hits: int
    count: int
    other_hits: int
    other_count: int
    exact: int
    other_exact: int
    ratios: Tensor  # (count,)
    indices: Tensor  # (count,), of the nearest of the others

    @property
    def share(self) -> float:
        return self.hits / self.count

    @property
    def interval(self) -> tuple[float, float]:
        return share_interval(self.hits, self.count)

    @property
    def natural(self) -> float:
        """The share among real items."""
        return self.other_hits / self.other_count

    @property
    def usually(self) -> str:
        """The share among real items, in words."""
        return f"of real items {self.natural:.1%} are, {self.other_exact / self.other_count:.1%} exactly"

    @property
    def p_value(self) -> float:
        """The probability of so many, were the items real ones: of copies, or of exact ones, of two looks the better.

        Of rows many real ones are nearly alike, and few exactly.
        """
        near = more_often(self.hits, self.count, self.other_hits, self.other_count)
        exact = more_often(self.exact, self.count, self.other_exact, self.other_count)
        return min(1.0, 2 * min(near, exact))

    @property
    def found(self) -> bool:
        return self.hits >= _LEAST and self.p_value < _CHANCE

    def closest(self, count: int) -> list[int]:
        """Which items are nearest to a copy, the nearest first."""
        return self.ratios.argsort(stable=True)[:count].tolist()


def ratios(x: Tensor, among: Tensor, *, itself: Tensor | None = None, around: int = _AROUND) -> tuple[Tensor, Tensor]:
    """Of each row of `x` the distance to the nearest of `among` over the mean to the nearest ones; and its index."""
    found = nearest(x, among, around, itself=itself)
    mean = found.distances.mean(1)
    # Where the nearest ones are all one point, all of them are copies.
    ratio = torch.where(mean > 0, found.distances[:, 0] / mean.clamp(min=torch.finfo(mean.dtype).tiny), 0.0)
    return ratio, found.indices[:, 0]


def copies(items: Tensor, among: Tensor, real: Tensor | None = None) -> Copies:
    """Which of `items` `(N, d)` are copies of one of `among` `(M, d)`.

    What real items do is told by `real` `(R, d)`, others of the same kind, and by `among` itself. Where real items
    are copies of each other, as rows of few columns are, that is so many fewer to wonder at. Where the split has kept
    those that are alike together, `real` would never be copies, and must not be given.
    """
    around = min(_AROUND, len(among) - 1)
    some = torch.linspace(0, len(among) - 1, min(len(among), _LOOKED_AT), dtype=torch.float64).long()
    known = [ratios(among[some], among, itself=some, around=around)[0]]
    if real is not None:
        known.append(ratios(real, among, around=around)[0])
    ratio, index = ratios(items, among, around=around)
    return _counted(ratio, index, torch.cat(known))


def repeats(generated: Tensor, real: Tensor) -> Copies:
    """Which generated items are copies of another generated one; `real` `(R, d)` tells how often real ones are.

    The two are cut to one number, for among more items the nearest is nearer.
    """
    count = min(len(generated), len(real))
    around, every = min(_AROUND, count - 1), torch.arange(count)
    usual, _ = ratios(real[:count], real[:count], itself=every, around=around)
    return _counted(*ratios(generated[:count], generated[:count], itself=every, around=around), usual)


def _counted(ratio: Tensor, index: Tensor, usual: Tensor) -> Copies:
    limit = max(float(usual.quantile(_RARE)) * _NEARER, _EXACT)
    hits, exact = ([int((x <= most).sum()) for x in (ratio, usual)] for most in (limit, _EXACT))
    return Copies(hits[0], len(ratio), hits[1], len(usual), exact[0], exact[1], ratio, index)
