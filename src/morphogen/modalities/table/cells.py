"""Arrow columns to the cells of a field, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .categories import Categories
from .column import Cells, Column
from .columns import Numbers
from .date_parts import PARTS, Clock, DatePartColumn
from .differences import DIFFERENCE, Dates, DifferenceColumn
from .units import to_numbers


def joined(names: Sequence[str]) -> str:
    """Return the name of a combination of columns that are modelled as one."""
    return json.dumps(list(names))


def members(name: str) -> list[str]:
    """Return the columns of the table that a modelled column stands for: itself, or those that `joined` combined.

    A part of a date stands for the date, and a difference of dates for the later one.
    """
    if not name.startswith(('["', '{"')):
        return [name]
    try:
        names = json.loads(name)
    except ValueError:
        return [name]
    if isinstance(names, dict) and len(names) == 1 and set(names) <= {*PARTS, DIFFERENCE}:
        return [str(of) for of in names.values()]
    return names if isinstance(names, list) and len(names) > 1 else [name]


def plain(column: Any) -> Any:
    """Return a dictionary-encoded column as its values, any other as it is."""
    import pyarrow.types as types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def encode_cells(column: Column, values: Any) -> Cells:
    """Return the cell of each value of an Arrow array."""
    if isinstance(column, Numbers):
        numbers, missing = to_numbers(values)
        if numbers.dtype.kind == "f" and not column.has_nan:  # a NaN that the codec was not fitted to is missing
            nan = np.isnan(numbers)
            numbers, missing = np.where(nan, 0, numbers), missing | nan
        return column.encode(numbers, missing)
    assert isinstance(column, Categories)
    encoded = plain(values).dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    table = column.encode(distinct, np.zeros(len(distinct), dtype=np.bool_))
    indices = encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    return np.append(table, column.missing_cell)[indices]


def encode_date_part(part: DatePartColumn, column: Column, values: Any) -> Cells:
    """Return the cell of one part of each date or time of an Arrow array, which `column` encodes."""
    clock = Clock.of(values.type)
    assert clock is not None
    assert isinstance(column, Numbers)
    return part.encode_dates(*to_numbers(values), column, clock)


def encode_difference(column: DifferenceColumn, columns: tuple[Column, Column], later: Any, reference: Any) -> Cells:
    """Return the cell of the difference of two Arrow arrays of dates or times, which `columns` encode."""
    dates = []
    for own, values in zip(columns, (later, reference), strict=True):
        clock = Clock.of(values.type)
        assert clock is not None
        assert isinstance(own, Numbers)
        dates.append(Dates(own, *to_numbers(values), clock))
    return column.encode_dates(*dates)


def encode_combinations(column: Categories, parts: Sequence[Any]) -> Cells:
    """Return the cell of each combination of values of several Arrow arrays."""
    rows = list(zip(*(plain(part).to_pylist() for part in parts), strict=True))
    return column.encode(rows, np.zeros(len(rows), dtype=np.bool_))


def category_array(values: Sequence[Any], indices: NDArray[np.int64], kind: Any) -> Any:
    """Return the Arrow array of type `kind` of `values[indices]`; `len(values)` stands for a missing value."""
    import pyarrow as arrow
    import pyarrow.types as types

    if not types.is_dictionary(kind):
        return arrow.array([*values, None], kind).take(arrow.array(indices))
    dictionary = arrow.array(values, kind.value_type)
    missing = indices == len(values)
    codes = arrow.array(np.where(missing, 0, indices), kind.index_type, mask=missing)
    return arrow.DictionaryArray.from_arrays(codes, dictionary, ordered=kind.ordered)


def cast(values: Any, kind: Any) -> Any:
    """Return a plain Arrow array as the type `kind`; Arrow's own cast cannot dictionary-encode numbers."""
    if plain_type(kind) == kind:
        return values.cast(kind)
    return values.cast(kind.value_type).dictionary_encode().cast(kind)


def plain_type(kind: Any) -> Any:
    """Return the type of the values of a dictionary-encoded type, any other as it is."""
    import pyarrow.types as types

    return kind.value_type if types.is_dictionary(kind) else kind


def row_contents(table: Any) -> list[bytes]:
    """Return the values of each row of an Arrow table, the same bytes for the same values."""
    columns = [
        [b"" if value is None else repr(value).encode() for value in plain(column).to_pylist()]
        for column in table.columns
    ]
    return [b"\x1f".join(row) for row in zip(*columns, strict=True)]
