"""Series as numbers on one axis of time, or as one token for each time step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import UserError
from morphogen.core.model import Partial
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Space, Tokens, space_from_json, space_to_json

from .options import Options

Series = NDArray[np.float64]


class ReadingsCodec(Codec[list[Series]]):
    """Tenths from `low` to `high`: as tokens, or evenly spaced in [-1, 1]."""

    def __init__(self, space: Space, low: float, high: float) -> None:
        self.space, self.low, self.high = space, low, high
        self.notes = [f"{self._length} time steps from {low:g} to {high:g}"]

    @classmethod
    def fit(cls, chunks: Iterable[list[Series]], kind: type[Space], options: Options | None = None) -> Self:
        low, high, lengths = float("inf"), float("-inf"), set()
        clip = options.clip if options and options.clip else float("inf")
        for chunk in chunks:
            low, high = min(low, *map(np.min, chunk)), max(high, *map(np.max, chunk))
            lengths |= {len(series) for series in chunk}
        if len(lengths) != 1:
            raise UserError(f"the series have lengths {sorted(lengths)}; expected all alike")
        low, high, length = round(max(low, -clip), 1), round(min(high, clip), 1), lengths.pop()
        steps = max(1, round((high - low) * 10))
        if kind is Tokens:
            return cls(Tokens(vocab=steps + 1, size=(length,)), low, high)
        return cls(Grid(1, (length,), step=2 / steps), low, high)

    def encode(self, items: list[Series]) -> Tensor:
        series = np.stack(items) if items else np.empty((0, self._length))
        index = torch.from_numpy(np.rint((series.clip(self.low, self.high) - self.low) * 10))
        if isinstance(self.space, Tokens):
            return index.long()
        return ((2 * index - self._steps) / self._steps).float().unsqueeze(1)

    def decode(self, x: Tensor, noise: Noise) -> list[Series]:
        index = x.double() if isinstance(self.space, Tokens) else (x[:, 0].double() + 1) / 2 * self._steps
        return list(np.round(self.low + index.round().clamp(0, self._steps).numpy() / 10, 1))

    def observe(self, items: list[Series], mask: list[NDArray[np.bool_]]) -> Partial:
        known = ~torch.from_numpy(np.stack(mask))
        return Partial(self.encode(items), known if isinstance(self.space, Tokens) else known.unsqueeze(1))

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"space": space_to_json(self.space), "low": self.low, "high": self.high}, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        return cls(space_from_json(config["space"]), config["low"], config["high"])

    @property
    def _length(self) -> int:
        return self.space.shape[-1]

    @property
    def _steps(self) -> int:
        return max(1, round((self.high - self.low) * 10))
