"""Columns of Arrow tables as numbers and codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError
from morphogen.metrics.statistics.histogram import plain_label

from ..units import is_numeric

_CATEGORIES = 254  # that histogram gradient boosting takes; the others become one more


def check_same_columns(real: Any, synthetic: Any) -> None:
    """Raise UserError unless both tables have the same columns, in the same order."""
    if real.column_names != synthetic.column_names:
        raise UserError(
            f"the tables have the columns {', '.join(real.column_names)} and {', '.join(synthetic.column_names)}; "
            "compare tables with the same columns"
        )


def numbers_of(column: Any) -> NDArray[np.float64]:
    """Return a column of numbers or dates as floats, `(N,)`; NaN where a value is missing or infinite."""
    import pyarrow as arrow
    import pyarrow.types as types

    if types.is_temporal(column.type):
        short = types.is_date32(column.type) or types.is_time32(column.type)
        column = column.cast(arrow.int32() if short else arrow.int64())
    values = column.cast(arrow.float64(), safe=False).to_numpy().astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def label_of(kind: Any) -> Callable[[float], str]:
    """Return how a number of `numbers_of` is written in a chart: a date or a time as such."""
    import pyarrow as arrow
    import pyarrow.types as types

    if not types.is_temporal(kind) or types.is_duration(kind):
        return plain_label
    whole = arrow.int32() if types.is_date32(kind) or types.is_time32(kind) else arrow.int64()

    def label(value: float) -> str:
        moment = arrow.array([int(value)], whole).cast(kind).cast(arrow.string())[0].as_py()
        return moment[:5] if types.is_time(kind) else moment[:10]

    return label


def codes_of(real: Any, synthetic: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return two columns as codes of their values, the most frequent first; missing is a value."""
    both = [str(value) for column in (real, synthetic) for value in column.to_pylist()]
    values, codes, counts = np.unique(np.array(both, dtype=object).astype(str), return_inverse=True, return_counts=True)
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(values))
    return rank[codes[: len(real)]], rank[codes[len(real) :]]


def matrices_of(*tables: Any) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_]]:
    """Return two tables as matrices for trees, categories as codes; and which columns are categories."""
    names = tables[0].column_names
    categories = np.array([not is_numeric(tables[0].column(name).type) for name in names])
    columns: list[list[NDArray[np.float64]]] = [[], []]
    for name, category in zip(names, categories, strict=True):
        if category:
            pair = [
                np.minimum(codes, _CATEGORIES).astype(np.float64)
                for codes in codes_of(*(table.column(name) for table in tables))
            ]
            missing = [np.asarray(table.column(name).is_null().to_numpy()) for table in tables]
            pair = [np.where(absent, np.nan, codes) for absent, codes in zip(missing, pair, strict=True)]
        else:
            pair = [numbers_of(table.column(name)) for table in tables]
        for side, column in zip(columns, pair, strict=True):
            side.append(column)
    return [np.stack(side, axis=1) for side in columns], categories
