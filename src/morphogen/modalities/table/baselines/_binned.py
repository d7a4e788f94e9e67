"""Columns of a table as codes, and real cells for codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..statistics.arrow_columns import numbers_of
from ..units import is_numeric


class Binned:
    """One column as codes: one for each value, or for each of `most` quantile bins where there are more numbers."""

    def __init__(self, column: Any, most: int) -> None:
        self.codes, self.count = _codes(column, most)
        # The rows sorted by code: a cell of a code is sampled among its rows.
        self._rows = np.argsort(self.codes, kind="stable")
        self._begins = np.searchsorted(self.codes[self._rows], np.arange(self.count + 1))
        self._column = column

    def cells(self, codes: NDArray[np.int64], random: np.random.Generator) -> Any:
        """Return a random real cell for each of these codes."""
        width = self._begins[codes + 1] - self._begins[codes]
        rows = self._begins[codes] + (random.random(len(codes)) * width).astype(np.int64)
        return self._column.take(self._rows[rows])


def _codes(column: Any, most: int) -> tuple[NDArray[np.int64], int]:
    """Return codes from 0 on, none of them empty, and their number."""
    if is_numeric(column.type):
        values = numbers_of(column)
        present = values[~np.isnan(values)]
        distinct = np.unique(present)
        if len(distinct) > most:
            edges = np.unique(np.quantile(present, np.arange(1, most) / most))
            values = np.where(np.isnan(values), np.nan, np.searchsorted(edges, np.nan_to_num(values), side="right"))
        _, codes = np.unique(values, return_inverse=True, equal_nan=True)
    else:
        words = np.array([str(value) for value in column.to_pylist()], dtype=object).astype(str)
        _, codes = np.unique(words, return_inverse=True)
    return codes.astype(np.int64), int(codes.max(initial=-1)) + 1
