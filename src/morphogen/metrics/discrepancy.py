"""The maximum mean discrepancy and its permutation test: are two sets of one distribution? (Gretton et al. 2012)"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ._reservoir import SampledMetric
from .base import FigureInfo, checked, require_items
from .statistics.order import digests

_MOST = 2000  # items of a side: all pairs are held in memory
_LEAST = 10
_PERMUTATIONS = 1999


class Discrepancy(SampledMetric):
    """`discrepancy`: the unbiased estimate of the squared discrepancy of a Gaussian kernel; at most 1.

    The kernel is as wide as the median distance between all items. At most 2,000 items a side are read.
    """

    figures: ClassVar = {
        "discrepancy": FigureInfo(
            name="MMD²",
            meaning="Maximum mean discrepancy of a Gaussian kernel, as wide as the median distance: about 0 where both "
            "distributions are equal.",
            ideal=0.0,
        )
    }
    position: ClassVar[int] = 4

    def __init__(self, most: int = _MOST) -> None:
        super().__init__(most)

    @classmethod
    def min_items(cls, dimensions: int) -> int:
        return _LEAST

    def compute(self) -> dict[str, float]:
        real, generated = (x.double() for x in self.samples())
        require_items("the maximum mean discrepancy", _LEAST, len(real), len(generated))
        kernel, first = _kernel(real, generated), torch.arange(len(real) + len(generated)) < len(real)
        return {"discrepancy": float(_estimates(kernel, first[:, None].double())[0])}


def p_value(
    real: Tensor, generated: Tensor, *, permutations: int = _PERMUTATIONS, seed: int = 0, most: int = _MOST
) -> float:
    """Return the p-value of the permutation test that features `(N, d)` and `(M, d)` are of one distribution.

    Exact for any number of items, in any order; at least 1 / (permutations + 1).
    """
    sides = []
    for x in (checked(real), checked(generated)):
        sides.append(x[torch.from_numpy(np.argsort(digests(x), kind="stable")[:most])])
    require_items("the maximum mean discrepancy", _LEAST, len(sides[0]), len(sides[1]))
    kernel = _kernel(*sides)
    random = torch.Generator().manual_seed(seed)
    count, total = len(sides[0]), len(kernel)
    own = (torch.arange(total) < count).double()
    others = [own[torch.randperm(total, generator=random)] for _ in range(permutations)]
    estimates = _estimates(kernel, torch.stack([own, *others], dim=1))
    return float((estimates[1:] >= estimates[0] - 1e-15).double().sum() + 1) / (permutations + 1)


def format_p(p: float) -> str:
    """Return a p-value as text; the smallest that the permutation test can give is shown as a bound."""
    return f"p {'≤' if p == 1 / (_PERMUTATIONS + 1) else '='} {p:.2g}"


def _kernel(real: Tensor, generated: Tensor) -> Tensor:
    """Return the Gaussian kernel of all pairs, `(N + M, N + M)`, zero on the diagonal."""
    x = torch.cat([real, generated])
    x = x - x.mean(0)
    norms = x.square().sum(1)
    squared = (norms[:, None] + norms - 2 * x @ x.T).clamp_(min=0)
    above = squared[torch.triu_indices(len(x), len(x), 1).unbind()]
    median = above.median().clamp(min=torch.finfo(x.dtype).tiny)
    kernel = squared.div_(-median).exp_()
    return kernel.fill_diagonal_(0)


def _estimates(kernel: Tensor, first: Tensor) -> Tensor:
    """Return the unbiased estimate for each column of `first` `(N, draws)`, which marks the items of the first set."""
    second = 1 - first
    m, n = first.sum(0), second.sum(0)
    towards = kernel @ first
    one, both = (first * towards).sum(0), (second * towards).sum(0)
    two = kernel.sum() - one - 2 * both
    return one / (m * (m - 1)) + two / (n * (n - 1)) - 2 * both / (m * n)
