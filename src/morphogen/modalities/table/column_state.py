"""Modelled columns from their saved state."""

from __future__ import annotations

from typing import Any

import numpy as np

from .categories import Categories
from .column import Column
from .columns import Bins, Values
from .date_parts import DatePartColumn
from .differences import DifferenceColumn
from .units import Units


def column_from_state(state: dict[str, Any], kind: str) -> Column:
    """Return the column that `state` described."""
    if kind == "categories":
        # JSON turns combinations of several columns into lists.
        values = [tuple(value) if isinstance(value, list) else value for value in state["values"]]
        other = tuple(state["other"]) if isinstance(state["other"], list) else state["other"]
        return Categories(values, state["counts"], other=other, pseudonyms=state["pseudonyms"])
    if kind == "date_part":
        return DatePartColumn.from_state(state)
    if kind == "difference":
        numbers = column_from_state(state["numbers"], state["numbers"]["kind"])
        assert isinstance(numbers, (Values, Bins))
        return DifferenceColumn.from_state(state, numbers)
    units = Units(**state["units"])
    dtype = np.int64 if units.whole else np.float64
    if kind == "values":
        return Values(units, np.array(state["values"], dtype=dtype))
    return Bins(units, np.array(state["edges"], dtype=dtype), np.array(state["spikes"], dtype=dtype))
