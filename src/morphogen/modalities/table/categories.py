"""Values without an order as the cells of a field; rare ones share a cell, and are never output."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from morphogen.core.space import Field

from .column import CellCondition, Cells, Column, Mask


@final
class Categories(Column):
    """A cell for each frequent value, one for all rare values, and `missing`.

    Rare values are decoded as `other`: a text that no frequent value has, a value of the column, or None, missing.
    A column of `pseudonyms` holds made-up values in the place of the real ones, and is told which real value each
    stands for while it is fitted, by `stands_for`: the state does not hold that.
    """

    kind = "categories"

    def __init__(
        self,
        values: Sequence[Any],
        counts: Sequence[int],
        *,
        other: Any = None,
        pseudonyms: bool = False,
        stands_for: Mapping[Hashable, int] | None = None,
    ) -> None:
        """`counts`: how many training rows have each value; `stands_for`: the cell of each real value."""
        self.values, self.counts = list(values), np.asarray(counts, dtype=np.int64)
        self.other, self.pseudonyms = other, pseudonyms
        self._index: dict[Any, int] = {value: number for number, value in enumerate(self.values)}
        if stands_for is not None:
            self._index |= stands_for
        self.field = Field(len(self.values) + 2)

    @property
    def rare_cell(self) -> int:
        return len(self.values)

    @property
    def cell_of_others(self) -> int:
        """The cell that rare values are encoded as: that of `other` where it is a frequent value, too."""
        if self.other is None and not self.pseudonyms:
            return self.missing_cell
        return self._index.get(self.other, self.rare_cell)

    def encode(self, values: Any, missing: Mask) -> Cells:
        others = self.cell_of_others
        cells = np.array([self._index.get(value, others) for value in values], dtype=np.int64)
        return np.where(missing, self.missing_cell, cells)

    @property
    def outputs(self) -> list[Any]:
        """The values that can be output; see `indices`."""
        return self.values if self.other is None else [*self.values, self.other]

    def indices(self, cells: Cells) -> Cells:
        """Return the index into `outputs` of each cell's value; `len(outputs)` where it is missing."""
        return np.minimum(cells, len(self.outputs))

    def decode(self, cells: Cells, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        indices = self.indices(cells)
        table = np.empty(len(self.outputs) + 1, dtype=object)
        for number, value in enumerate(self.outputs):  # one by one, since a value may be a tuple
            table[number] = value
        return table[indices], indices == len(self.outputs)

    def likelihood(self, condition: CellCondition) -> NDArray[np.float32]:
        satisfied = np.zeros(self.field.size, dtype=np.float32)
        for value in condition.values or ():
            satisfied[self.rare_cell if value == self.other and value not in self._index else self._index[value]] = 1
        satisfied[self.missing_cell] = condition.missing
        return satisfied

    def state(self) -> dict[str, Any]:
        return {
            "values": self.values,
            "counts": self.counts.tolist(),
            "other": self.other,
            "pseudonyms": self.pseudonyms,
        }
