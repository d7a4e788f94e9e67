"""Fidelity and variety apart: precision, recall (Kynkäänniemi et al. 2019), density, coverage (Naeem et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ._pairs import PairMetric, Tile
from .base import FigureInfo, require_items

_MOST = 20_000  # items of a side: time grows with their square
_K = 5
_SLACK = 32  # roundings of a squared distance


class Manifold(PairMetric):
    """Shares of items inside the balls that reach from each item of the other side to its k-th neighbour there.

    `precision`: generated items inside a real ball. `recall`: real items inside a generated ball. `density`: in how
    many real balls a generated item lies, over k (may exceed 1). `coverage`: real balls with a generated item inside.
    Prefer the last two: one outlier with a large ball spoils the first two. They depend on k and on the number of
    samples, of which at most 20,000 a side are read.
    """

    figures: ClassVar = {
        "precision": FigureInfo(
            name="precision",
            meaning="Share of generated items that lie among real ones: low precision means bad items.",
            ideal=1.0,
            better="higher",
            minimum=0.0,
            maximum=1.0,
        ),
        "density": FigureInfo(
            name="density",
            meaning="Precision, weighted by how many real items are nearby; may exceed 1.",
            ideal=1.0,
            better="higher",
            minimum=0.0,
        ),
        "recall": FigureInfo(
            name="recall",
            meaning="Share of real items that lie among generated ones: low recall means missing kinds of items.",
            ideal=1.0,
            better="higher",
            group="variety",
            minimum=0.0,
            maximum=1.0,
        ),
        "coverage": FigureInfo(
            name="coverage",
            meaning="Share of real items with a generated one nearby: recall that outliers do not spoil.",
            ideal=1.0,
            better="higher",
            group="variety",
            minimum=0.0,
            maximum=1.0,
        ),
    }
    position: ClassVar[int] = 5

    @classmethod
    def min_items(cls, dimensions: int) -> int:
        return _K + 1

    def __init__(self, k: int = _K, most: int = _MOST) -> None:
        super().__init__(most)
        self.k = k

    def start(self, real: Tensor, generated: Tensor, centre: Tensor) -> None:
        require_items(f"precision and recall with k = {self.k}", self.k + 1, len(real), len(generated))
        # An item on the surface of a ball is inside; rounding must not decide that, above all among copies.
        reach = max(float(torch.linalg.vector_norm(x, dim=1).max()) ** 2 for x in (real, generated))
        self._slack = _SLACK * torch.finfo(real.dtype).eps * reach
        self._radii = {
            side: torch.full((len(x), self.k), torch.inf, dtype=x.dtype)
            for side, x in ((True, real), (False, generated))
        }
        self._balls = torch.zeros(len(generated), dtype=torch.int64)  # how many real balls each generated item is in
        self._recalled = torch.zeros(len(real), dtype=torch.bool)
        self._nearest = torch.full((len(real),), torch.inf, dtype=real.dtype)

    def within(self, tile: Tile, real: bool) -> None:
        block, radii = tile.distances(), self._radii[real]
        if tile.rows == tile.columns:
            block = block.clone()
            block.diagonal().fill_(torch.inf)  # an item is not its own neighbour
        else:
            _update_nearest(radii, tile.columns, block.T)
        _update_nearest(radii, tile.rows, block)

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


def _update_nearest(best: Tensor, rows: slice, block: Tensor) -> None:
    """Update the smallest distances so far, `best` `(N, k)`, rising, with a block of distances of some of its rows."""
    k = best.shape[1]
    smallest = block.topk(min(k, block.shape[1]), dim=1, largest=False).values
    best[rows] = torch.cat([best[rows], smallest], dim=1).topk(k, dim=1, largest=False).values
