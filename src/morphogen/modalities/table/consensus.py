"""The consensus of several imputations of the same rows, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def consensus(draws: Sequence[Any]) -> Any:
    """Return an Arrow table: of each number, date or time the lower median of the draws, of any other cell the mode.

    Each is the value of one of the draws, so that it has their precision. Where most draws are missing, so is the cell.
    """
    import pyarrow as arrow
    import pyarrow.compute as compute

    columns = []
    for name in draws[0].column_names:
        parts = [one.column(name).combine_chunks() for one in draws]
        ordered = _numbers(parts)
        index = _mode(_codes(parts)) if ordered is None else _lower_median(ordered)
        flat = np.arange(len(draws[0])) + index * len(draws[0])
        columns.append(compute.take(arrow.chunked_array(parts).combine_chunks(), arrow.array(flat)))
    return arrow.table(columns, schema=draws[0].schema)


def _numbers(parts: Sequence[Any]) -> NDArray[np.float64] | None:
    """Return a column of each draw as numbers in its order, `(draws, rows)`, NaN: missing. None: it has no order."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    kind = parts[0].type
    if types.is_temporal(kind) and kind.bit_width <= 64:
        whole = "int32" if kind.bit_width == 32 else "int64"
        parts = [compute.cast(part, whole) for part in parts]
    elif types.is_decimal(kind):
        parts = [compute.cast(part, "float64") for part in parts]
    elif not (types.is_integer(kind) or types.is_floating(kind)):
        return None
    arrays = [part.to_numpy(zero_copy_only=False).astype(np.float64) for part in parts]
    return np.stack(arrays)


def _codes(parts: Sequence[Any]) -> NDArray[np.int64]:
    """Return a number for each value of a column of each draw, `(draws, rows)`, -1 where missing."""
    values: dict[Any, int] = {}
    codes = [
        [-1 if one is None else values.setdefault(repr(one), len(values)) for one in part.to_pylist()] for part in parts
    ]
    return np.array(codes, dtype=np.int64)


def _mode(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the first draw that has the most frequent value."""
    counts = (codes[:, None] == codes[None]).sum(1)
    return counts.argmax(0)


def _lower_median(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each row the draw of the lower median of those present, or a missing one where most are missing."""
    order = numbers.argsort(axis=0, kind="stable")  # NaN last
    present = (~np.isnan(numbers)).sum(0)
    missing = 2 * present < len(numbers)
    place = np.where(missing, len(numbers) - 1, (present - 1).clip(0) // 2)
    return np.take_along_axis(order, place[None], 0)[0]
