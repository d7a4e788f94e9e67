"""A sample of the features that a metric has seen, in bounded memory."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .base import Metric, checked
from .statistics.order import digests


class Reservoir:
    """At most `most` of the vectors that were added: those with the smallest digests, a uniform sample.

    Which these are depends neither on the order in which they were added, nor on how many processes saw them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._parts: list[Tensor] = []
        self._count = 0

    def add(self, x: Tensor) -> None:
        """Add vectors `(N, d)`, float32 or float64."""
        self._parts.append(x)
        self._count += len(x)
        if self._count > 2 * self.most:
            self._thin()

    def merge(self, other: Self) -> None:
        """Add everything that another reservoir has seen."""
        for part in other._parts:
            self.add(part)

    @property
    def width(self) -> int | None:
        """The number of dimensions; None before the first vector."""
        return self._parts[0].shape[1] if self._parts else None

    def get(self) -> Tensor:
        """Return the sample, `(min(N, most), d)`, in the order of the digests."""
        self._thin()
        return self._parts[0] if self._parts else torch.empty(0, 0, dtype=torch.float64)

    def _thin(self) -> None:
        if not self._parts:
            return
        x = torch.cat(self._parts) if len(self._parts) > 1 else self._parts[0]
        order = np.argsort(digests(x), kind="stable")[: self.most]
        self._parts = [x[torch.from_numpy(order)]]
        self._count = len(order)


class SampledMetric(Metric):
    """A metric that needs the features themselves, of which it holds at most `most` a side."""

    def __init__(self, most: int) -> None:
        self.reservoirs = {True: Reservoir(most), False: Reservoir(most)}

    def update(self, features: Any, real: bool) -> None:
        width = next((one.width for one in self.reservoirs.values() if one.width), None)
        x = checked(features, width, keep_float32=True)
        if len(x):
            self.reservoirs[real].add(x)

    def merge(self, other: Self) -> None:
        for side, reservoir in other.reservoirs.items():
            self.reservoirs[side].merge(reservoir)

    def samples(self) -> tuple[Tensor, Tensor]:
        """Return the real and the generated features held, `(N, d)` and `(M, d)`; float64 unless all were float32."""
        real, generated = self.reservoirs[True].get(), self.reservoirs[False].get()
        width = real.shape[1] or generated.shape[1]  # an empty side has none
        wide = torch.promote_types(real.dtype, generated.dtype)
        return real.reshape(len(real), width).to(wide), generated.reshape(len(generated), width).to(wide)
