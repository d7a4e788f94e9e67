"""The Vendi score: the effective number of different items (Friedman & Dieng 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from .base import FigureInfo, Metric, checked, require_items


class Vendi(Metric):
    """`vendi_ratio`: the score of generated items over that of real ones; above 1 is more varied.

    The score is the exponential of the entropy of the eigenvalues of K / n, with K the cosines of features. These are
    the eigenvalues of the second moment of features of length one, which is a sum over items: any number streams.
    """

    figures: ClassVar = {
        "vendi_ratio": FigureInfo(
            name="Vendi ratio",
            meaning="Effective number of different generated items over that of real ones; below 1 is less varied.",
            ideal=1.0,
            better="near",
            group="variety",
            minimum=0.0,
        )
    }
    position: ClassVar[int] = 6

    def __init__(self) -> None:
        self.counts = {True: 0, False: 0}
        self.sums: dict[bool, Tensor] = {}

    def update(self, features: Any, real: bool) -> None:
        width = next((len(total) for total in self.sums.values()), None)
        x = checked(features, width)
        if len(x):
            # Zero features have no direction; they count as equal.
            unit = x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
            self._add(real, len(x), unit.T @ unit)

    def merge(self, other: Self) -> None:
        for real, total in other.sums.items():
            self._add(real, other.counts[real], total)

    def compute(self) -> dict[str, float]:
        require_items("the Vendi score", 2, self.counts[True], self.counts[False])
        real, generated = (self.score(side) for side in (True, False))
        return {"vendi_ratio": generated / real}

    def score(self, real: bool) -> float:
        """Return the score of one side: from 1, all items equal, to the number of dimensions."""
        values = torch.linalg.eigvalsh(self.sums[real] / self.counts[real]).clamp(min=0)
        return float(torch.special.entr(values / values.sum().clamp(min=1e-300)).sum().exp())

    def _add(self, real: bool, count: int, total: Tensor) -> None:
        self.counts[real] += count
        self.sums[real] = self.sums[real] + total if real in self.sums else total
