"""What every column of a table is to a model: cells of a field, of which the last one stands for a missing value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from morphogen.core.space import Field

Cells = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CellCondition:
    """What a value has to be: one of `values`, or from `low` to `high` inclusive, or missing."""

    values: tuple[Any, ...] | None = None
    low: float | int | None = None
    high: float | int | None = None
    missing: bool = False


class Column(ABC):
    """Maps the values of one column to cells and back. Of the data it holds nothing but what `state` returns."""

    kind: ClassVar[str]
    field: Field
    pseudonyms: bool = False  # whether values stand for real ones, which are not stored

    @property
    def missing_cell(self) -> int:
        return self.field.size - 1

    @abstractmethod
    def encode(self, values: Any, missing: Mask) -> Cells:
        """Return the cell of each value, `(n,)`."""

    @abstractmethod
    def decode(self, cells: Cells, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        """Return values `(n,)`, and which of them are missing.

        `inside` `(n,)` in [0, 1) is the place of each value within its cell.
        """

    @abstractmethod
    def likelihood(self, condition: CellCondition) -> NDArray[np.float32]:
        """Return P(a value satisfies the condition | its cell), `(field.size,)`."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return plain JSON from which `column_from_state` builds the column again."""
