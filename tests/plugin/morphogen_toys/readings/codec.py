"""Lists of numbers, standardised; or as tokens, where they are few."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.space import Continuous, Space, Tokens, space_from_json, space_to_json

Items = list[list[float]]


def examples(count: int) -> Items:
    """Some items, for the contract tests."""
    return [[(3 * row + column) % 11 / 10 for column in range(4)] for row in range(count)]


class ReadingCodec(Codec[Items]):
    """Rows of readings from `low` to `high`, in steps of a tenth."""

    def __init__(self, space: Space, low: float, high: float) -> None:
        self.space, self.low, self.high = space, low, high

    @classmethod
    def fit(cls, chunks: Iterable[Items], kind: type[Space], options: Any = None) -> Self:
        low, high, width = float("inf"), float("-inf"), 0
        for chunk in chunks:
            low, high = min(low, *map(min, chunk)), max(high, *map(max, chunk))
            width = len(chunk[0])
        if kind is Tokens:
            return cls(Tokens(vocab=round((high - low) * 10) + 1, size=(width,)), low, high)
        return cls(Continuous(width, step=0.2 / (high - low)), low, high)

    def encode(self, items: Items) -> Tensor:
        x = torch.tensor(items, dtype=torch.float64) - self.low
        if isinstance(self.space, Tokens):
            return (x * 10).round().long()
        return (2 * x / (self.high - self.low) - 1).float()

    def decode(self, x: Tensor) -> Items:
        if isinstance(self.space, Tokens):
            values = self.low + x.double() / 10
        else:
            values = self.low + (x.double() + 1) / 2 * (self.high - self.low)
        return [[round(value, 1) for value in row] for row in values.tolist()]

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"space": space_to_json(self.space), "low": self.low, "high": self.high}, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        return cls(space_from_json(config["space"]), config["low"], config["high"])
