"""Cells of Arrow columns as the values that are encoded, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Categories, Column
from .units import to_column, to_numbers


def members(name: str) -> list[str]:
    """The columns of a table that one of the codec stands for."""
    if not name.startswith('["'):
        return [name]
    try:
        found = json.loads(name)
    except ValueError:
        return [name]
    return found if isinstance(found, list) and len(found) > 1 else [name]


def plain(column: Any) -> Any:
    """A dictionary as its values."""
    import pyarrow.types as types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def plain_type(kind: Any) -> Any:
    """The type of the values of a dictionary."""
    import pyarrow.types as types

    return kind.value_type if types.is_dictionary(kind) else kind


def values_of(column: Column, cells: Any) -> tuple[Any, NDArray[np.bool_]]:
    """As the column encodes them, and which are missing."""
    if isinstance(column, Categories):
        cells = plain(cells)
        return cells.to_pylist(), np.asarray(cells.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
    return to_numbers(cells)


def column_of(values: Any, missing: NDArray[np.bool_], column: Column, kind: Any) -> Any:
    """An Arrow array of decoded values."""
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    if not isinstance(column, Categories):
        return to_column(values, missing, kind)
    if types.is_dictionary(kind):
        known = arrow.array(column.values, kind.value_type)
        indices = compute.index_in(arrow.array(values, kind.value_type), value_set=known)
        return arrow.DictionaryArray.from_arrays(indices.cast(kind.index_type), known, ordered=kind.ordered)
    return arrow.array(values, kind)
