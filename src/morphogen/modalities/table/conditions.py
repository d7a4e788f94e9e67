"""Conditions on columns, as a user writes them: a value, several, a range, or missing."""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

from .categories import Categories
from .column import CellCondition, Column
from .columns import Bins, Values
from .formats.column import ColumnFormat
from .units import parse, to_column

ALL = "all"  # as a condition: each value of the column in turn
MISSING = "missing"
_RANGE = re.compile(r"^(?P<low>[^<>=]*?)\.\.(?P<high>[^<>=]*)$")
_BOUND = re.compile(r"^(?P<sign>>=|<=)(?P<value>.+)$")


def expand(
    condition: Mapping[str, Any], count: int, values_of: Callable[[str], Sequence[Any]]
) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield conditions with one value for each column, and the sample before which each ends, for `count` samples.

    A column's condition is one value for all samples, a list with one for each, or `all`: its values, `values_of`,
    divide the samples into equal parts, in order. Raises UserError on a list of another length.
    """
    listed = {name: each for name, value in condition.items() if (each := _each(value)) is not None}
    for name, values in listed.items():
        if len(values) != count:
            raise UserError(f"column '{name}' has {len(values)} conditions for {count} samples; give one or {count}")
    fixed = {name: None if is_missing(value) else value for name, value in condition.items() if name not in listed}
    options = [values_of(name) if isinstance(value, str) and value == ALL else [value] for name, value in fixed.items()]
    for name, option in zip(fixed, options, strict=True):
        if not option:
            raise UserError(f"column '{name}' has no values for the condition '{ALL}'; drop it")
    combinations = list(product(*options))
    start = 0
    for number, combination in enumerate(combinations, start=1):
        stop = count * number // len(combinations)
        turn = dict(zip(fixed, combination, strict=True))
        # One condition for each run of samples whose listed values are the same.
        for values, samples in groupby(range(start, stop), lambda at: [one[at] for one in listed.values()]):
            yield turn | dict(zip(listed, values, strict=True)), max(samples) + 1
        start = stop


def _each(value: Any) -> list[Any] | None:
    """Return the conditions of a list, a tuple, or a column of numpy or pandas, one a sample; None: it is one."""
    if isinstance(value, (list, tuple)):
        values = list(value)
    elif getattr(value, "ndim", 0) == 1 and hasattr(value, "tolist"):
        values = value.tolist() if not _is_numpy_times(value) else list(value)
    else:
        return None
    return [None if is_missing(one) else one for one in values]


def _is_numpy_times(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "mM"


def parse_condition(name: str, value: Any, column: Column, kind: Any, written: ColumnFormat | None) -> CellCondition:
    """Return the condition on column `name` of the Arrow type `kind` whose cells are `written` in a format.

    A user gives a value as the file has it or as one of Python, `30..40`, `>=30`, `<=40`, `a|b`, a set of values,
    `missing`, or None. Raises UserError, with the nearest known value, where no cell can satisfy it.
    """
    condition = _parse(name, value, column, kind, written)
    if not column.likelihood(condition).any():
        raise UserError(f"no cell of column '{name}' can be {value}; {_known_values(column, kind, written)}")
    return condition


def is_missing(value: Any) -> bool:
    """Return whether a value stands for a missing one: None, or pandas' NA and NaT; a float NaN is none."""
    is_nat = _is_numpy_time(value) and bool(np.isnat(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType") or is_nat


def _is_numpy_time(value: Any) -> bool:
    return isinstance(value, (np.datetime64, np.timedelta64))


def _parse(name: str, value: Any, column: Column, kind: Any, written: ColumnFormat | None) -> CellCondition:
    if isinstance(value, CellCondition):  # one of all values, see `expand`
        return value
    is_category = isinstance(column, Categories)
    categories = column.values if isinstance(column, Categories) else []
    if isinstance(value, np.generic) and not _is_numpy_time(value):
        value = value.item()
    if isinstance(value, float) and math.isnan(value) and (is_category or not getattr(column, "has_nan", False)):
        return CellCondition(missing=True)
    if is_missing(value) or (isinstance(value, str) and value == MISSING and value not in categories):
        return CellCondition(missing=True)
    if isinstance(value, (set, frozenset)):
        parts = [_parse(name, one, column, kind, written) for one in sorted(value, key=repr)]
        if any(one.low is not None or one.high is not None for one in parts):
            raise UserError(f"the condition on column '{name}' is a set with a range in it; give values alone")
        values = tuple(one for part in parts for one in part.values or ())
        return CellCondition(values=values or None, missing=any(part.missing for part in parts))
    if isinstance(column, Categories):
        several = value.split("|") if isinstance(value, str) and value not in categories else [value]
        return CellCondition(values=tuple(_category(name, one, column, written) for one in several))
    try:
        return _numeric(name, value, kind, written)
    except ValueError:
        raise UserError(
            f"the condition on column '{name}' is '{value}'; expected a number or date, a range such as 30..40, >=30 "
            f"or <=40, several values such as 1|2, or {MISSING}; {_known_values(column, kind, written)}"
        ) from None


def _numeric(name: str, value: Any, kind: Any, written: ColumnFormat | None) -> CellCondition:
    """Return a condition on a column of numbers, dates or times. Raises ValueError where it is none."""

    def read(text: str) -> float | int:
        return read_value(text.strip(), kind, written)

    if not isinstance(value, str):
        return CellCondition(values=(read_value(value, kind, written),))
    if bound := _BOUND.match(value.strip()):
        number = read(bound["value"])
        return CellCondition(low=number) if bound["sign"] == ">=" else CellCondition(high=number)
    if span := _RANGE.match(value.strip()):
        low = read(span["low"]) if span["low"].strip() else None
        high = read(span["high"]) if span["high"].strip() else None
        if low is not None and high is not None and low > high:
            raise UserError(f"the range '{value}' of column '{name}' is empty; give the smaller one first")
        return CellCondition(low=low, high=high)
    return CellCondition(values=tuple(read(one) for one in value.split("|")))


def read_value(value: Any, kind: Any, written: ColumnFormat | None) -> float | int:
    """Return a value, as the file has it or as one of Python, as `units.to_numbers` returns those of the type `kind`.

    Raises ValueError where it is none.
    """
    if written is not None:
        # A user need not write a value as the file does: 2024-03-20 is a date anywhere.
        with contextlib.suppress(ValueError):
            value = written.value(value)
    return parse(value, kind)


def _category(name: str, value: Any, column: Categories, written: ColumnFormat | None) -> Any:
    """Return the category that a user wrote, if need be in another case. Raises UserError with the nearest one."""
    exact = [known for known in column.values if type(known) is type(value) and known == value]
    exact = exact or [known for known in column.values if known == value and not isinstance(value, bool)]
    names = [str(known) for known in column.values]
    texts = [str(value)]
    if written is not None and written.textual and isinstance(value, str):
        with contextlib.suppress(ValueError):
            texts.append(str(written.value(value)))
    exact = exact or [known for known, text in zip(column.values, names, strict=True) if text in texts]
    if exact:
        return exact[0]
    if column.other is not None and value == column.other:  # any rare value
        return value
    alike = [known for known, text in zip(column.values, names, strict=True) if text.lower() == texts[0].lower()]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise UserError(f"column '{name}' has no value '{value}'; did you mean {' or '.join(map(repr, alike))}?")
    nearest = difflib.get_close_matches(texts[0], names, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'?" if nearest else _known_categories(column)
    raise UserError(f"column '{name}' has no value '{value}' that is frequent enough to be modelled; {hint}")


def _known_values(column: Column, kind: Any, written: ColumnFormat | None) -> str:
    """Return in words which values a column has, as they are written."""
    if isinstance(column, Categories):
        return _known_categories(column)
    if isinstance(column, Values):
        if not len(column.ordered):
            return "it has no values"
        return (
            f"it has {len(column.values)} values, {_span(column.units.restore(column.ordered[[0, -1]]), kind, written)}"
        )
    assert isinstance(column, Bins)
    return f"it has values {_span(column.ranges()[[0, column.field.ordered - 1], [0, 1]], kind, written)}"


def _known_categories(column: Categories) -> str:
    some = ", ".join(map(str, column.values[:8]))
    return f"known: {some}{' …' if len(column.values) > 8 else ''}"


def _span(ends: NDArray[Any], kind: Any, written: ColumnFormat | None) -> str:
    """Return two values of the Arrow type `kind` in words."""
    column = to_column(ends, np.zeros(2, dtype=np.bool_), kind)
    values = (column if written is None else written.write(column)).to_pylist()
    low, high = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return f"from {low} to {high}"
