"""The Fréchet distance freed of its bias by the number of samples (Chong & Forsyth 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ._rows import RowMetric
from .base import enough
from .frechet import Moments, distance

_MOST = 50_000  # rows of a side
_SIZES = 15
_LEAST, _A_DIMENSION = 50, 5  # samples


class FrechetInfinity(RowMetric):
    """What the distance would be with endless samples of both sides, as `frechet_infinity`.

    The distance of n of each falls nearly as 1/n: of 15 sizes the intercept of the line over 1/n. Both sides shrink,
    for the real ones are no more than the generated. May lie a little below 0, where the two are alike.
    """

    ideal: ClassVar = {"frechet_infinity": 0.0}

    def __init__(self, seed: int = 0, most: int = _MOST) -> None:
        super().__init__(most)
        self.seed = seed

    def compute(self) -> dict[str, float]:
        real, generated = (x.double() for x in self.sides())
        # With fewer, the line is drawn through noise.
        width = real.shape[1]
        enough("the Fréchet distance at infinity", max(_LEAST, _A_DIMENSION * width), len(real), len(generated))
        count = min(len(real), len(generated))
        # With no more samples than dimensions the distance does not yet fall as 1/n.
        least = min(max(min(5000, count // 10), 2 * width), count // 2)
        sizes = torch.linspace(least, count, _SIZES).long()
        random = torch.Generator().manual_seed(self.seed)
        found = torch.tensor([self._of(real, generated, int(size), random) for size in sizes], dtype=torch.float64)
        inverse = 1 / sizes.double()
        line = torch.linalg.lstsq(torch.stack([torch.ones_like(inverse), inverse], 1), found[:, None]).solution
        return {"frechet_infinity": float(line[0, 0])}

    def _of(self, real: Tensor, generated: Tensor, size: int, random: torch.Generator) -> float:
        a, b = (Moments.of(x[torch.randperm(len(x), generator=random)[:size]]) for x in (real, generated))
        return distance(a, b)
