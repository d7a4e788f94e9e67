"""Whether generated items grow alike while a model is trained: mode collapse."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ALIKE = 0.5  # of the variety of real items
_TIMES = 2  # that it has to be less, one after the other


def variety(x: Tensor, real: Tensor) -> float:
    """How far generated items `(N, ...)` are from each other, over how far real ones `(M, ...)` are.

    1 is as varied, 0 is all the same. Of numbers by their distance, of symbols by the share that differ; NaN where
    real ones do not differ, or either are fewer than two.
    """
    apart, usual = _apart(x), _apart(real)
    return apart / usual if usual > 0 else math.nan


def _apart(x: Tensor) -> float:
    """The mean over all pairs."""
    numbers = x.is_floating_point()
    x = x.flatten(1).float()
    pairs = torch.pdist(x, p=2 if numbers else 0)
    return float(pairs.mean()) if len(pairs) else math.nan


class Watch:
    """Told the variety at times, it says when that has been little for a while, and says it once."""

    def __init__(self) -> None:
        self._thin, self._said = 0, False

    def told(self, value: float) -> str:
        """What to say of it; nothing, where there is nothing to say."""
        self._thin = self._thin + 1 if value < _ALIKE else 0
        if self._thin < _TIMES or self._said:
            return ""
        self._said = True
        return (
            f"generated items vary {value:.0%} as much as real ones, and did so before: the model may be collapsing. "
            "Look at the previews; where they are all alike, stop, and try a lower --train.lr or other --options"
        )
