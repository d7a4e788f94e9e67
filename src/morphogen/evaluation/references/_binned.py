"""Columns of a table as codes, and real cells for codes again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tables import is_number, numbers_of


class Binned:
    """One column: a code for each value, of many numbers for each of so many parts of about equal mass."""

    def __init__(self, column: Any, most: int) -> None:
        self.codes, self.count = _codes(column, most)
        # The rows of each code, one after the other, from which a cell is drawn for it.
        self._rows = np.argsort(self.codes, kind="stable")
        self._begins = np.searchsorted(self.codes[self._rows], np.arange(self.count + 1))
        self._column = column

    def cells(self, codes: NDArray[np.int64], random: np.random.Generator) -> Any:
        """A real cell of each of these codes."""
        width = self._begins[codes + 1] - self._begins[codes]
        picked = self._begins[codes] + (random.random(len(codes)) * width).astype(np.int64)
        return self._column.take(self._rows[picked])


def _codes(column: Any, most: int) -> tuple[NDArray[np.int64], int]:
    """Codes from 0 on, each of which some row has; and how many there are."""
    if is_number(column.type):
        values = numbers_of(column)
        there = values[~np.isnan(values)]
        distinct = np.unique(there)
        if len(distinct) > most:
            edges = np.unique(np.quantile(there, np.arange(1, most) / most))
            values = np.where(np.isnan(values), np.nan, np.searchsorted(edges, np.nan_to_num(values), side="right"))
        _, codes = np.unique(values, return_inverse=True, equal_nan=True)
    else:
        words = np.array([str(value) for value in column.to_pylist()], dtype=object).astype(str)
        _, codes = np.unique(words, return_inverse=True)
    return codes.astype(np.int64), int(codes.max(initial=-1)) + 1
