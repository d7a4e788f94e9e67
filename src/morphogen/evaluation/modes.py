"""Regions of the data that the generator leaves out: statistically different bins (Richardson & Weiss 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST, _LEAST = 50, 20  # bins, and real items of each
_STARVED = 0.25  # of the share among real items, below which a bin is left out
_MASS = 0.02  # of the real items in such bins, from which on it is a fault
_CHANCE = 1e-3  # probability below which too few are no chance


@dataclass(frozen=True)
class Modes:
    """The shares of real and of generated items in each bin, `(bins,)`, and what they tell.

    `different`: the share of bins with another proportion of items, at p < .05. `divergence`: Jensen-Shannon's, bits.
    `starved`: the bins where generated items are far too few, beyond chance; `lost`: the share of real items in them.
    """

    real: NDArray[np.float64]
    generated: NDArray[np.float64]
    different: float
    divergence: float
    starved: list[int]
    lost: float

    @property
    def found(self) -> bool:
        return self.lost > _MASS


def clusters(x: Tensor, count: int, seed: int = 0) -> Tensor:
    """The centres of k-means, `(count, d)`, of features `(N, d)`."""
    from sklearn.cluster import MiniBatchKMeans

    count = min(count, len(x))
    fitted = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=4096).fit(x.double().numpy())
    return torch.from_numpy(fitted.cluster_centers_).double()


def modes(real: Tensor, generated: Tensor, *, bins: int | None = None, seed: int = 0) -> Modes:
    """Of features `(N, d)` and `(M, d)`; bins are k-means on the real ones, at most 50, of 20 items each or more."""
    count = bins or max(2, min(_MOST, len(real) // _LEAST, len(generated) // _LEAST))
    centres = clusters(real, count, seed)
    shares = [_count(x, centres) for x in (real, generated)]
    # k-means cuts what is left out into several bins. Chance starves one of them, but hardly so many as `_MASS` takes.
    return of_counts(shares[0], shares[1], chance=_CHANCE)


def of_counts(real: NDArray[np.int64], generated: NDArray[np.int64], *, chance: float | None = None) -> Modes:
    """The same of how many items there are in each bin, or of each class.

    `chance` is that of a single bin to be called starved; None: so small that it holds over all of them.
    """
    from scipy.stats import norm

    n, m = real.sum(), generated.sum()
    p, q = real / n, generated / m
    both = (real + generated) / (n + m)
    spread = np.sqrt(np.maximum(both * (1 - both) * (1 / n + 1 / m), 1e-300))
    z = (p - q) / spread
    middle = (p + q) / 2
    divergence = sum(float(np.sum(one[one > 0] * np.log2(one[one > 0] / middle[one > 0]))) / 2 for one in (p, q))
    limit = norm.isf(chance or _CHANCE / len(p))
    starved = np.flatnonzero((z > limit) & (q < _STARVED * p)).tolist()
    different = float((np.abs(z) > norm.isf(0.025)).mean())
    return Modes(p, q, different, divergence, starved, float(p[starved].sum()))


def _count(x: Tensor, centres: Tensor) -> NDArray[np.int64]:
    nearest = torch.cat([torch.cdist(part.double(), centres).argmin(1) for part in x.split(4096)])
    return nearest.bincount(minlength=len(centres)).numpy()
