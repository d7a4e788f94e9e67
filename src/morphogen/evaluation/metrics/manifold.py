"""Quality and variety apart: precision, recall (Kynkäänniemi et al. 2019), density, coverage (Naeem et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from .base import Metric, checked, enough

_ROWS = 1024  # of a block of distances: N x N never lives in memory


def _distances(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Blocks of rows, each with the index of its first, of the squared distances `(len(x), len(y))`."""
    norms = y.square().sum(dim=1)
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        yield start, (rows.square().sum(dim=1)[:, None] + norms - 2 * rows @ y.T).clamp_(min=0)


def _radii(x: Tensor, k: int, slack: float) -> Tensor:
    """The squared distance of each item to its k-th neighbour, itself not counted; `(N,)`."""
    found = []
    for start, block in _distances(x, x):
        block.diagonal(start).fill_(torch.inf)
        found.append(block.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(found) + slack


class Manifold(Metric):
    """Shares of items inside the balls that reach from each item of the other side to its k-th neighbour there.

    `precision`: generated items inside a real ball. `recall`: real items inside a generated ball. `density`: in how
    many real balls a generated item lies, over k (may exceed 1). `coverage`: real balls with a generated item inside.
    Prefer the last two: one outlier's large ball spoils the first two. They depend on k and on the number of samples.
    """

    ideal: ClassVar = {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    higher_is_better: ClassVar[bool] = True

    def __init__(self, k: int = 5) -> None:
        self.k = k
        self.seen: dict[bool, list[Tensor]] = {True: [], False: []}

    def update(self, features: Any, real: bool) -> None:
        width = next((x.shape[1] for side in self.seen.values() for x in side), None)
        self.seen[real].append(checked(features, width))

    def merge(self, other: Self) -> None:
        for side, batches in other.seen.items():
            for batch in batches:
                self.update(batch, side)

    def compute(self) -> dict[str, float]:
        counts = [sum(map(len, self.seen[side])) for side in (True, False)]
        enough(f"precision and recall with k = {self.k}", self.k + 1, *counts)
        real, generated = (torch.cat(self.seen[side]) for side in (True, False))
        centre = real.mean(dim=0)  # distances by a matrix product lose what the origin is far away
        real, generated = real - centre, generated - centre
        # An item on the rim is inside. The product's rounding must not decide that, above all among copies.
        slack = 1e-12 * float(torch.maximum(real.square().sum(1).max(), generated.square().sum(1).max()))
        radii_real, radii_generated = _radii(real, self.k, slack), _radii(generated, self.k, slack)

        inside = balls = 0
        nearest = torch.full((len(real),), torch.inf, dtype=torch.float64)
        recalled = torch.zeros(len(real), dtype=torch.bool)
        for start, block in _distances(generated, real):
            within = block <= radii_real
            inside += int(within.any(dim=1).sum())
            balls += int(within.sum())
            nearest = torch.minimum(nearest, block.min(dim=0).values)
            recalled |= (block <= radii_generated[start : start + len(block), None]).any(dim=0)
        return {
            "precision": inside / len(generated),
            "recall": float(recalled.double().mean()),
            "density": balls / (self.k * len(generated)),
            "coverage": float((nearest <= radii_real).double().mean()),
        }
