"""Whether two sets come from one distribution: the maximum mean discrepancy (Gretton et al. 2012)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ._rows import RowMetric, digests
from .base import checked, enough

_MOST = 2000  # rows of a side: all pairs are held
_LEAST = 10
_PERMUTATIONS = 1999


class Discrepancy(RowMetric):
    """The unbiased estimate of the squared discrepancy of a Gaussian kernel, as `discrepancy`; at most 1.

    The kernel is as wide as the median distance between all items. Of no more than 2,000 rows a side.
    """

    ideal: ClassVar = {"discrepancy": 0.0}

    def __init__(self, most: int = _MOST) -> None:
        super().__init__(most)

    def compute(self) -> dict[str, float]:
        real, generated = (x.double() for x in self.sides())
        enough("the maximum mean discrepancy", _LEAST, len(real), len(generated))
        kernel, first = _kernel(real, generated), torch.arange(len(real) + len(generated)) < len(real)
        return {"discrepancy": float(_estimates(kernel, first[:, None].double())[0])}


def p_value(
    real: Tensor, generated: Tensor, *, permutations: int = _PERMUTATIONS, seed: int = 0, most: int = _MOST
) -> float:
    """The probability of so large a discrepancy, were both sets of one distribution: by exchanging their items.

    Of features `(N, d)` and `(M, d)`, in any order. Exact for any number of items; no less than 1 / (permutations + 1).
    """
    sides = []
    for x in (checked(real), checked(generated)):
        sides.append(x[torch.from_numpy(np.argsort(digests(x), kind="stable")[:most])])
    enough("the maximum mean discrepancy", _LEAST, len(sides[0]), len(sides[1]))
    kernel = _kernel(*sides)
    random = torch.Generator().manual_seed(seed)
    count, total = len(sides[0]), len(kernel)
    own = (torch.arange(total) < count).double()
    others = [own[torch.randperm(total, generator=random)] for _ in range(permutations)]
    found = _estimates(kernel, torch.stack([own, *others], dim=1))
    return float((found[1:] >= found[0] - 1e-15).double().sum() + 1) / (permutations + 1)


def in_words(p: float) -> str:
    """A probability, which by so many exchanges comes out no smaller than one of all there were."""
    return f"p {'≤' if p == 1 / (_PERMUTATIONS + 1) else '='} {p:.2g}"


def _kernel(real: Tensor, generated: Tensor) -> Tensor:
    """The Gaussian kernel of all pairs, `(N + M, N + M)`, zero on the diagonal."""
    x = torch.cat([real, generated])
    x = x - x.mean(0)
    norms = x.square().sum(1)
    squared = (norms[:, None] + norms - 2 * x @ x.T).clamp_(min=0)
    above = squared[torch.triu_indices(len(x), len(x), 1).unbind()]
    median = above.median().clamp(min=torch.finfo(x.dtype).tiny)
    kernel = squared.div_(-median).exp_()
    return kernel.fill_diagonal_(0)


def _estimates(kernel: Tensor, first: Tensor) -> Tensor:
    """Of each column of `first` `(N, draws)`, which says what is of the first set, the unbiased estimate."""
    second = 1 - first
    m, n = first.sum(0), second.sum(0)
    towards = kernel @ first
    one, both = (first * towards).sum(0), (second * towards).sum(0)
    two = kernel.sum() - one - 2 * both
    return one / (m * (m - 1)) + two / (n * (n - 1)) - 2 * both / (m * n)
