"""Quality and variety apart: precision, recall (Kynkäänniemi et al. 2019), density, coverage (Naeem et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ._rows import PairMetric, Tile
from .base import enough

_MOST = 20_000  # rows of a side: pairs are their square
_SLACK = 32  # roundings of a squared distance


class Manifold(PairMetric):
    """Shares of items inside the balls that reach from each item of the other side to its k-th neighbour there.

    `precision`: generated items inside a real ball. `recall`: real items inside a generated ball. `density`: in how
    many real balls a generated item lies, over k (may exceed 1). `coverage`: real balls with a generated item inside.
    Prefer the last two: one outlier's large ball spoils the first two. They depend on k and on the number of samples,
    of which no more than 20,000 a side are looked at.
    """

    ideal: ClassVar = {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    higher_is_better: ClassVar[bool] = True

    def __init__(self, k: int = 5, most: int = _MOST) -> None:
        super().__init__(most)
        self.k = k

    def start(self, real: Tensor, generated: Tensor, centre: Tensor) -> None:
        enough(f"precision and recall with k = {self.k}", self.k + 1, len(real), len(generated))
        # An item on the rim is inside. The product's rounding must not decide that, above all among copies.
        reach = max(float(torch.linalg.vector_norm(x, dim=1).max()) ** 2 for x in (real, generated))
        self._slack = _SLACK * torch.finfo(real.dtype).eps * reach
        self._radii = {
            side: torch.full((len(x), self.k), torch.inf, dtype=x.dtype)
            for side, x in ((True, real), (False, generated))
        }
        self._balls = torch.zeros(len(generated), dtype=torch.int64)  # real ones that each generated item is in
        self._recalled = torch.zeros(len(real), dtype=torch.bool)
        self._nearest = torch.full((len(real),), torch.inf, dtype=real.dtype)

    def within(self, tile: Tile, real: bool) -> None:
        block, radii = tile.distances(), self._radii[real]
        if tile.rows == tile.columns:
            block = block.clone()
            block.diagonal().fill_(torch.inf)  # an item is no neighbour of itself
        else:
            _nearer(radii, tile.columns, block.T)
        _nearer(radii, tile.rows, block)

    def between(self, tile: Tile) -> None:
        block = tile.distances()
        inside = block <= self._radii[True][tile.rows, -1:] + self._slack
        self._balls[tile.columns] += inside.sum(0)
        self._recalled[tile.rows] |= (block <= self._radii[False][tile.columns, -1] + self._slack).any(1)
        self._nearest[tile.rows] = torch.minimum(self._nearest[tile.rows], block.amin(1))

    def finish(self) -> dict[str, float]:
        covered = self._nearest <= self._radii[True][:, -1] + self._slack
        return {
            "precision": float((self._balls > 0).double().mean()),
            "recall": float(self._recalled.double().mean()),
            "density": float(self._balls.double().mean()) / self.k,
            "coverage": float(covered.double().mean()),
        }


def _nearer(best: Tensor, rows: slice, block: Tensor) -> None:
    """Keep in `best` `(N, k)`, rising, the smallest distances that its rows have met."""
    k = best.shape[1]
    found = block.topk(min(k, block.shape[1]), dim=1, largest=False).values
    best[rows] = torch.cat([best[rows], found], dim=1).topk(k, dim=1, largest=False).values
