"""Memorisation: are generated items nearer to training items than held-out items are?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .knn import nearest_neighbours
from .modes import clusters

_LEAST = 20  # items of a cell


def data_copying(
    generated: Tensor, held_out: Tensor, train: Tensor, *, cells: int | None = None, seed: int = 0
) -> float:
    """Return C_T (Meehan et al. 2020): below -3, generated items are nearer to training items than held-out ones are.

    A Mann-Whitney z of the distances to the nearest training item, in cells of k-means on the training items, weighted
    by the share of held-out items there. The paper's is the mean over cells; this is in standard errors, whatever the
    number of cells. NaN where no cell holds 20 items of both sides.
    """
    from scipy.stats import mannwhitneyu

    sides = {"generated": generated, "held_out": held_out}
    distance = {side: nearest_neighbours(x, train, 1).distances[:, 0].numpy() for side, x in sides.items()}
    count = cells or max(1, min(10, len(held_out) // 100))
    cell = _cells(train, sides, count, seed)
    total, weights = 0.0, 0
    for index in range(count):
        inside = {side: distance[side][cell[side] == index] for side in distance}
        m, n = len(inside["generated"]), len(inside["held_out"])
        if min(m, n) < _LEAST:
            continue
        # The z of the test with ties: U against half the pairs.
        u = mannwhitneyu(inside["generated"], inside["held_out"]).statistic
        both = np.concatenate(list(inside.values()))
        _, ties = np.unique(both, return_counts=True)
        size = m + n
        spread = math.sqrt(m * n / 12 * max(size + 1 - (ties**3 - ties).sum() / (size * (size - 1)), 1e-12))
        total += n * (u - m * n / 2) / spread
        weights += n * n
    return total / math.sqrt(weights) if weights else math.nan


def authentic(items: Tensor, train: Tensor) -> Tensor:
    """Return which items are authentic, bool `(N,)`: further from the nearest training item than that is from its own.

    Their share is the authenticity (Alaa et al. 2022).
    """
    neighbours = nearest_neighbours(items, train, 1)
    index, inverse = neighbours.indices[:, 0].unique(return_inverse=True)
    own = nearest_neighbours(train[index], train, 1, own_index=index).distances[:, 0]
    return neighbours.distances[:, 0] > own[inverse]


def _cells(train: Tensor, sides: dict[str, Tensor], count: int, seed: int) -> dict[str, Any]:
    if count == 1:
        return {side: np.zeros(len(x), dtype=int) for side, x in sides.items()}
    centres = clusters(train, count, seed)
    return {side: torch.cdist(x.double(), centres).argmin(1).numpy() for side, x in sides.items()}
