"""Whether generated items lie nearer to the training items than new real ones do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .neighbours import nearest

_LEAST = 20  # items of a cell


def copying(generated: Tensor, held_out: Tensor, train: Tensor, *, cells: int | None = None, seed: int = 0) -> float:
    """C_T: below -3 generated items are nearer to training items than held-out ones are (Meehan et al. 2020).

    A Mann-Whitney z of the distances to the nearest training item, in cells of k-means on the training items, weighted
    by the share of held-out items there. Theirs is the mean of the cells, whose standard error falls with their number;
    here it is in standard errors, whatever their number. NaN where no cell holds 20 of both.
    """
    from scipy.stats import mannwhitneyu

    distance = {side: nearest(x, train, 1).distances[:, 0].numpy() for side, x in _sides(generated, held_out)}
    count = cells or max(1, min(10, len(held_out) // 100))
    cell = _cells(train, dict(_sides(generated, held_out)), count, seed)
    total, weights = 0.0, 0
    for one in range(count):
        there = {side: distance[side][cell[side] == one] for side in distance}
        m, n = len(there["generated"]), len(there["held_out"])
        if min(m, n) < _LEAST:
            continue
        # The z of the test with ties: its U against half the pairs.
        u = mannwhitneyu(there["generated"], there["held_out"]).statistic
        both = np.concatenate(list(there.values()))
        _, ties = np.unique(both, return_counts=True)
        size = m + n
        spread = math.sqrt(m * n / 12 * max(size + 1 - (ties**3 - ties).sum() / (size * (size - 1)), 1e-12))
        total += n * (u - m * n / 2) / spread
        weights += n * n
    return total / math.sqrt(weights) if weights else math.nan


def authenticity(items: Tensor, train: Tensor) -> float:
    """The share of items further from the nearest training item than that one is from its own (Alaa et al. 2022)."""
    return float(authentic(items, train).double().mean())


def authentic(items: Tensor, train: Tensor) -> Tensor:
    """Which are, `(N,)`."""
    found = nearest(items, train, 1)
    who, which = found.indices[:, 0].unique(return_inverse=True)
    own = nearest(train[who], train, 1, itself=who).distances[:, 0]
    return found.distances[:, 0] > own[which]


def _sides(generated: Tensor, held_out: Tensor) -> list[tuple[str, Tensor]]:
    return [("generated", generated), ("held_out", held_out)]


def _cells(train: Tensor, sides: dict[str, Tensor], count: int, seed: int) -> dict[str, Any]:
    if count == 1:
        return {side: np.zeros(len(x), dtype=int) for side, x in sides.items()}
    from .modes import clusters

    centres = clusters(train, count, seed)
    return {side: torch.cdist(x.double(), centres).argmin(1).numpy() for side, x in sides.items()}
