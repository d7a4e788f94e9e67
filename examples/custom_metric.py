"""A metric of your own: the distance between the means of two sets of features, and its contract check.

usage: python examples/custom_metric.py
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from morphogen.metrics.base import FigureInfo, Metric, checked, require_items
from morphogen.testing import check_metric


class MeanGap(Metric):
    """The Euclidean distance between the means of generated and of real features."""

    figures: ClassVar = {
        "mean_gap": FigureInfo(
            name="mean gap",
            meaning="Distance between the means of generated and real features: 0 where both agree on average.",
            ideal=0.0,
            minimum=0.0,
        )
    }

    @classmethod
    def min_items(cls, dimensions: int) -> int:
        return 1

    def __init__(self) -> None:
        self.counts = {True: 0, False: 0}
        self.sums: dict[bool, Tensor] = {}

    def update(self, features: Any, real: bool) -> None:
        width = next((len(total) for total in self.sums.values()), None)
        x = checked(features, width)
        self._add(real, len(x), x.sum(0))

    def merge(self, other: Self) -> None:
        for real, total in other.sums.items():
            self._add(real, other.counts[real], total)

    def compute(self) -> dict[str, float]:
        require_items("the gap between means", 1, self.counts[True], self.counts[False])
        real, generated = (self.sums[side] / self.counts[side] for side in (True, False))
        return {"mean_gap": float(torch.linalg.vector_norm(real - generated))}

    def _add(self, real: bool, count: int, total: Tensor) -> None:
        self.counts[real] += count
        self.sums[real] = self.sums[real] + total if real in self.sums else total


if __name__ == "__main__":
    check_metric(MeanGap)
    print("MeanGap keeps the contract of a metric")
