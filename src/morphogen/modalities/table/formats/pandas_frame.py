"""Data frames of pandas as Arrow tables, and back with the types, labels and index that they had."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from morphogen.core.errors import BadItem

from ..options import column_name
from .form import Form, Labels, form_of, with_form
from .frames import arrow_columns, written

_INDEX = "__index_level_{}__"  # the name that pandas gives a level without one in a parquet file
_INTERVAL = re.compile(r"([\[(])(.+), (.+)([\])])")


def from_pandas(frame: Any, *, with_index: bool) -> Any:
    """Return the Arrow table of a data frame; `with_index`, its index stands in columns behind the others.

    Raises BadItem on a column of mixed or unknown values.
    """
    names = [column_name(label) for label in frame.columns.tolist()]
    series: dict[str, Any] = {}
    for number, name in enumerate(names):
        if name in series:
            raise BadItem(f"the data frame has the column '{name}' {names.count(name)} times; give each its own name")
        series[name] = frame.iloc[:, number]
    index_names = tuple(_INDEX.format(level) for level in range(frame.index.nlevels)) if with_index else ()
    for level, name in enumerate(index_names):
        series[name] = frame.index.get_level_values(level).to_series(index=frame.index)
    raw, dtypes = {}, {}
    for name, one in series.items():
        raw[name], dtypes[name] = _to_arrow(one, name)
    labels = Labels(
        columns={
            name: _pack(label)
            for name, label in zip(names, frame.columns.tolist(), strict=True)
            if not isinstance(label, str)
        },
        columns_names=tuple(frame.columns.names),
        index=index_names,
        index_names=tuple(_pack(name) for name in frame.index.names),
        dtypes=dtypes,
    )
    table, formats = arrow_columns(raw, frozenset(name for name, dtype in dtypes.items() if dtype[:8] == "interval"))
    return with_form(table, Form("pandas", labels=labels, columns=formats))


def to_pandas(table: Any) -> Any:
    """Return the data frame of an Arrow table; the reverse of `from_pandas`. Without an index its rows are counted."""
    import pandas

    form = form_of(table)
    labels, raw = form.labels, written(table)
    series = {name: _to_series(raw.column(name), labels.dtypes.get(name, "")) for name in raw.column_names}
    level_names = [_unpack(name) for name in labels.index_names]
    levels = [series.pop(name) for name in labels.index if name in series]
    if len(levels) > 1:
        index = pandas.MultiIndex.from_arrays(levels, names=level_names)
    elif levels:
        index = pandas.Index(levels[0]).rename(level_names[0])
    else:
        index = pandas.RangeIndex(len(table), name=level_names[0] if len(level_names) == 1 else None)
    names = list(series)
    frame = pandas.DataFrame({number: one.array for number, one in enumerate(series.values())}, index=index)
    own = [_unpack(labels.columns[name]) if name in labels.columns else name for name in names]
    if own and all(isinstance(label, tuple) for label in own):
        frame.columns = pandas.MultiIndex.from_tuples(own, names=labels.columns_names)
    else:
        name = labels.columns_names[0] if len(labels.columns_names) == 1 else None
        frame.columns = pandas.Index(own, name=name)
    return frame


def _to_arrow(series: Any, name: str) -> tuple[Any, str]:
    """Return a column of pandas as an Arrow array, and its type in the words of pandas."""
    import pandas
    import pyarrow as arrow

    dtype = series.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        return _categories(series), f"category:{dtype.categories.dtype}"
    if isinstance(dtype, pandas.PeriodDtype):
        return arrow.array(series.dt.start_time, from_pandas=True), str(dtype)
    if isinstance(dtype, pandas.IntervalDtype):
        return arrow.array([None if one is pandas.NA or one != one else str(one) for one in series]), str(dtype)
    if isinstance(dtype, pandas.SparseDtype):
        series = series.sparse.to_dense()
    try:
        array = arrow.array(series, from_pandas=True)
    except UnicodeEncodeError as error:
        raise BadItem(f"column '{name}' holds text that is not Unicode ({error.reason}); correct it") from None
    except (arrow.ArrowException, TypeError, ValueError, OverflowError):
        return _mixed(series, name), "object:mixed"
    if str(dtype) == "object":
        if arrow.types.is_nested(array.type):
            kinds = {type(one) for one in series.tolist() if one is not None and not isinstance(one, float)}
            if any(issubclass(kind, np.ndarray) for kind in kinds):
                return array, "object:array"
            return (array, "object") if kinds <= {list, dict} else (_mixed(series, name), "object:mixed")
        return array, "object:nan" if any(isinstance(one, float) for one in series[series.isna()]) else "object"
    return array, str(dtype)


def _categories(series: Any) -> Any:
    import pyarrow as arrow

    categories = series.cat.categories
    try:
        labels = arrow.array(categories, from_pandas=True)
        simple = arrow.types.is_primitive(labels.type) and not arrow.types.is_temporal(labels.type)
        simple = simple or arrow.types.is_string(labels.type) or arrow.types.is_large_string(labels.type)
    except (arrow.ArrowException, TypeError, ValueError):
        simple = False
    if not simple:
        labels = arrow.array([str(one) for one in categories], arrow.string())
    labels = labels.cast(arrow.string()) if arrow.types.is_large_string(labels.type) else labels
    codes = series.cat.codes.to_numpy()
    indices = arrow.array(codes.astype("int32"), mask=codes < 0)
    return arrow.DictionaryArray.from_arrays(indices, labels, ordered=bool(series.cat.ordered))


def _mixed(series: Any, name: str) -> Any:
    """Return a column of several types as text, of which `_unmixed` makes the same values."""
    import pandas
    import pyarrow as arrow

    texts: list[str | None] = []
    for value in series.tolist():
        if value is None or value is pandas.NA or (isinstance(value, float) and value != value):
            texts.append(None)
            continue
        text = str(value)
        again = _unmixed(text)
        if type(again) is not type(value) or again != value:
            raise BadItem(
                f"column '{name}' holds {value!r:.60} of type {type(value).__name__} among other types; expected "
                "numbers, words or dates alone: convert the column"
            )
        texts.append(text)
    return arrow.array(texts, arrow.string())


def _unmixed(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)


def _to_series(array: Any, dtype: str) -> Any:
    """Return a column as pandas had it."""
    import pandas

    base, _, rest = dtype.partition(":")
    if base == "category":
        return _to_categorical(array, rest)
    if base == "object":
        values = array.to_pylist()
        if rest == "mixed":
            values = [None if text is None else _unmixed(text) for text in values]
        if rest == "array":
            values = [None if one is None else np.array(one) for one in values]
        gone = float("nan") if rest == "nan" else None
        return pandas.Series([gone if value is None else value for value in values], dtype=object)
    if base.startswith("period"):
        return array.to_pandas().dt.to_period(base[len("period[") : -1]).astype(base)
    if base.startswith("interval"):
        return pandas.Series(_intervals(array.to_pylist(), base))
    if not base:
        return array.to_pandas()
    target = pandas.api.types.pandas_dtype(base)
    if hasattr(target, "__from_arrow__"):
        return pandas.Series(target.__from_arrow__(array))
    plain = array.to_pandas()
    return plain if plain.isna().any() and target.kind in "iub" else plain.astype(target)


def _to_categorical(array: Any, dtype: str) -> Any:
    import pandas

    from .column import whole

    array = whole(array)
    labels = array.dictionary.to_pylist()
    if dtype.startswith("interval"):
        categories = pandas.Index(_intervals(labels, dtype))
    elif dtype.startswith("period"):
        categories = pandas.PeriodIndex(labels, freq=dtype[len("period[") : -1])
    elif dtype == "object":
        categories = pandas.Index(labels, dtype=object)
    else:
        try:
            categories = pandas.Index(labels).astype(dtype)
        except (TypeError, ValueError):
            categories = pandas.Index(labels)  # a category that the column did not have
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    values = pandas.Categorical.from_codes(codes, categories=categories, ordered=array.type.ordered)
    return pandas.Series(values)


def _intervals(texts: list[str | None], dtype: str) -> Any:
    """Return intervals, such as `(0.5, 1.5]`, of the type `interval[float64, right]`."""
    import pandas

    subtype, closed = dtype[len("interval[") : -1].rsplit(", ", 1)
    ends = []
    for text in texts:
        match = _INTERVAL.fullmatch(text) if text is not None else None
        ends.append((match[2], match[3]) if match else (None, None))
    sides = [pandas.Series([end[side] for end in ends]) for side in (0, 1)]
    if subtype.startswith("datetime64"):
        left, right = (pandas.to_datetime(side).astype(subtype) for side in sides)
    elif subtype.startswith("timedelta64"):
        left, right = (pandas.to_timedelta(side).astype(subtype) for side in sides)
    else:
        left, right = (side.astype("float64") for side in sides)
        if not left.isna().any():
            left, right = left.astype(subtype), right.astype(subtype)
    return pandas.arrays.IntervalArray.from_arrays(left, right, closed=closed)


def _pack(label: Any) -> Any:
    """Return a label of an axis as JSON can hold it."""
    if isinstance(label, tuple):
        return {"tuple": [_pack(one) for one in label]}
    if label is None or type(label) in (str, int, float, bool):
        return label
    if hasattr(label, "item"):
        return label.item()
    return {"time": label.isoformat()} if hasattr(label, "isoformat") else str(label)


def _unpack(label: Any) -> Any:
    import pandas

    if isinstance(label, Mapping) and "tuple" in label:
        return tuple(_unpack(one) for one in label["tuple"])
    return pandas.Timestamp(label["time"]) if isinstance(label, Mapping) else label
