"""The Fréchet distance without its bias by the number of samples (Chong & Forsyth 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ._reservoir import SampledMetric
from .base import FigureInfo, require_items
from .frechet import Moments, distance

_MOST = 50_000  # items of a side
_SIZES = 15
_LEAST, _PER_DIMENSION = 50, 5  # samples


class FrechetInfinity(SampledMetric):
    """`frechet_infinity`: the distance extrapolated to infinitely many samples of both sides.

    The distance between n samples of each side is nearly linear in 1/n: this is the intercept of the line through 15
    sizes. Both sides are subsampled, because real items are as few as generated ones. Slightly negative values occur
    where both are of one distribution.
    """

    figures: ClassVar = {
        "frechet_infinity": FigureInfo(
            name="FD∞",
            meaning="The Fréchet distance extrapolated to infinitely many items; values slightly below 0 mean 0.",
            ideal=0.0,
            minimum=0.0,
            published={"inception-2015": "FID∞"},
        )
    }
    position: ClassVar[int] = 2

    def __init__(self, seed: int = 0, most: int = _MOST) -> None:
        super().__init__(most)
        self.seed = seed

    @classmethod
    def min_items(cls, dimensions: int) -> int:
        return max(_LEAST, _PER_DIMENSION * dimensions)  # with fewer, noise hides the slope

    def compute(self) -> dict[str, float]:
        real, generated = (x.double() for x in self.samples())
        width = real.shape[1]
        require_items("the Fréchet distance at infinity", self.min_items(width), len(real), len(generated))
        count = min(len(real), len(generated))
        # With no more samples than dimensions the distance is not yet linear in 1/n.
        least = min(max(min(5000, count // 10), 2 * width), count // 2)
        sizes = torch.linspace(least, count, _SIZES).long()
        random = torch.Generator().manual_seed(self.seed)
        values = [_subset_distance(real, generated, size, random) for size in sizes.tolist()]
        distances = torch.tensor(values, dtype=torch.float64)
        inverse = 1 / sizes.double()
        line = torch.linalg.lstsq(torch.stack([torch.ones_like(inverse), inverse], 1), distances[:, None]).solution
        return {"frechet_infinity": float(line[0, 0])}


def _subset_distance(real: Tensor, generated: Tensor, size: int, random: torch.Generator) -> float:
    """Return the distance between random subsets of both sides."""
    a, b = (Moments.of(x[torch.randperm(len(x), generator=random)[:size]]) for x in (real, generated))
    return distance(a, b)
