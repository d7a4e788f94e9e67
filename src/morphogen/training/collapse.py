"""Mode collapse: whether generated items become alike while a model trains."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_THRESHOLD = 0.5  # of the variety of real items
_PATIENCE = 2  # consecutive values below it


def variety(x: Tensor, real: Tensor) -> float:
    """Return the mean distance between generated items `(N, ...)`, relative to that between real ones `(M, ...)`.

    1: as varied as real items; 0: all the same. Numbers are compared by Euclidean distance, tokens by how many differ.
    NaN where the real items are all the same, or there are fewer than two of either.
    """
    distance, real_distance = _mean_distance(x), _mean_distance(real)
    return distance / real_distance if real_distance > 0 else math.nan


def _mean_distance(x: Tensor) -> float:
    """Return the mean over all pairs."""
    numbers = x.is_floating_point()
    x = x.flatten(1).float()
    pairs = torch.pdist(x, p=2 if numbers else 0)
    return float(pairs.mean()) if len(pairs) else math.nan


class CollapseMonitor:
    """Warns once when variety stays low."""

    def __init__(self) -> None:
        self._low, self._warned = 0, False

    def observe(self, value: float) -> str:
        """Take note of the variety of a preview; return the warning, or the empty string."""
        self._low = self._low + 1 if value < _THRESHOLD else 0
        if self._low < _PATIENCE or self._warned:
            return ""
        self._warned = True
        return (
            f"in {_PATIENCE} previews in a row generated items vary less than {_THRESHOLD:.0%} as much as real ones, "
            f"in the last one {value:.0%}: the model may be collapsing. "
            "Look at the previews; if they are all alike, stop, and try a lower --train.lr or other --options"
        )
