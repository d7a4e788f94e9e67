"""Missing modes: bins with statistically different shares of items (Richardson & Weiss 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST, _LEAST = 50, 20  # bins, and real items of each
_STARVED = 0.25  # a bin with less than this part of its real share is missing
_MASS = 0.02  # share of real items in missing bins above which it is a fault
_ALPHA = 1e-3  # p-value below which a bin counts as missing


@dataclass(frozen=True)
class Modes:
    """The shares of real and of generated items in each bin, `(bins,)`, and how they differ.

    `different`: the share of bins with another proportion of items, at p < .05. `divergence`: Jensen-Shannon, in bits.
    `missing`: the bins with significantly and far too few generated items; `lost`: the share of real items in them.
    """

    real: NDArray[np.float64]
    generated: NDArray[np.float64]
    different: float
    divergence: float
    missing: list[int]
    lost: float

    @property
    def detected(self) -> bool:
        return self.lost > _MASS


def clusters(x: Tensor, count: int, seed: int = 0) -> Tensor:
    """Return the centres of k-means, `(count, d)`, of features `(N, d)`."""
    from sklearn.cluster import MiniBatchKMeans

    count = min(count, len(x))
    fitted = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=4096).fit(x.double().numpy())
    return torch.from_numpy(fitted.cluster_centers_).double()


def compare_modes(real: Tensor, generated: Tensor, *, bins: int | None = None, seed: int = 0) -> Modes:
    """Compare features `(N, d)` and `(M, d)` in bins: k-means of the real ones, at most 50, of at least 20 items."""
    count = bins or max(2, min(_MOST, len(real) // _LEAST, len(generated) // _LEAST))
    centres = clusters(real, count, seed)
    shares = [_count(x, centres) for x in (real, generated)]
    # No correction for many bins: k-means splits a missing mode into several, and chance hardly empties enough of
    # them to exceed `_MASS`.
    return compare_counts(shares[0], shares[1], alpha=_ALPHA)


def compare_counts(real: NDArray[np.int64], generated: NDArray[np.int64], *, alpha: float | None = None) -> Modes:
    """Compare the numbers of items in each bin, or of each class.

    `alpha` is the p-value below which a single bin is missing; None: Bonferroni-corrected for their number.
    """
    from scipy.stats import norm

    n, m = real.sum(), generated.sum()
    p, q = real / n, generated / m
    both = (real + generated) / (n + m)
    spread = np.sqrt(np.maximum(both * (1 - both) * (1 / n + 1 / m), 1e-300))
    z = (p - q) / spread
    middle = (p + q) / 2
    divergence = sum(float(np.sum(one[one > 0] * np.log2(one[one > 0] / middle[one > 0]))) / 2 for one in (p, q))
    limit = norm.isf(alpha or _ALPHA / len(p))
    missing = np.flatnonzero((z > limit) & (q < _STARVED * p)).tolist()
    different = float((np.abs(z) > norm.isf(0.025)).mean())
    return Modes(p, q, different, divergence, missing, float(p[missing].sum()))


def _count(x: Tensor, centres: Tensor) -> NDArray[np.int64]:
    nearest = torch.cat([torch.cdist(part.double(), centres).argmin(1) for part in x.split(4096)])
    return nearest.bincount(minlength=len(centres)).numpy()
