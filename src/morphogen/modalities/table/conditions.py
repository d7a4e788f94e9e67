"""Conditions on columns, as a user writes them: a value, several, a range, or missing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

from .columns import Bins, Categories, CellCondition, Column, Values
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
    listed = {name: list(value) for name, value in condition.items() if isinstance(value, (list, tuple))}
    for name, values in listed.items():
        if len(values) != count:
            raise UserError(f"column '{name}' has {len(values)} conditions for {count} samples; give one or {count}")
    fixed = {name: value for name, value in condition.items() if name not in listed}
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


def parse_condition(name: str, value: Any, column: Column, kind: Any) -> CellCondition:
    """Return the condition on column `name` of the Arrow type `kind`.

    A user writes a value, `30..40`, `>=30`, `<=40`, `a|b`, `missing`, or None. Raises UserError, with the nearest
    known value, where no cell can satisfy it.
    """
    condition = _parse(name, value, column, kind)
    if not column.likelihood(condition).any():
        raise UserError(f"no cell of column '{name}' can be {value}; {_known_values(column, kind)}")
    return condition


def _parse(name: str, value: Any, column: Column, kind: Any) -> CellCondition:
    categories = column.values if isinstance(column, Categories) else []
    if value is None or (isinstance(value, str) and value == MISSING and value not in categories):
        return CellCondition(missing=True)
    if isinstance(column, Categories):
        several = value.split("|") if isinstance(value, str) and value not in categories else [value]
        return CellCondition(values=tuple(_category(name, one, column) for one in several))
    if isinstance(value, (int, float, np.number)):
        return CellCondition(values=(value,))
    value = str(value)  # a date or a decimal number, say
    try:
        if bound := _BOUND.match(value.strip()):
            number = parse(bound["value"], kind)
            return CellCondition(low=number) if bound["sign"] == ">=" else CellCondition(high=number)
        if span := _RANGE.match(value.strip()):
            low = parse(span["low"], kind) if span["low"].strip() else None
            high = parse(span["high"], kind) if span["high"].strip() else None
            if low is not None and high is not None and low > high:
                raise UserError(f"the range '{value}' of column '{name}' is empty; give the smaller one first")
            return CellCondition(low=low, high=high)
        return CellCondition(values=tuple(parse(one, kind) for one in value.split("|")))
    except ValueError:
        raise UserError(
            f"the condition on column '{name}' is '{value}'; expected a number or date, a range such as 30..40, >=30 "
            f"or <=40, several values such as 1|2, or {MISSING}; {_known_values(column, kind)}"
        ) from None


def _category(name: str, value: Any, column: Categories) -> Any:
    """Return the category that a user wrote, whatever its case. Raises UserError with the nearest one."""
    if value in column.values:
        return column.values[column.values.index(value)]
    names = [str(known) for known in column.values]
    for known, text in zip(column.values, names, strict=True):
        if text.lower() == str(value).lower():
            return known
    nearest = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'?" if nearest else _known_categories(column)
    raise UserError(f"column '{name}' has no value '{value}' that is frequent enough to be modelled; {hint}")


def _known_values(column: Column, kind: Any) -> str:
    """Return in words which values a column of the Arrow type `kind` has."""
    if isinstance(column, Categories):
        return _known_categories(column)
    if isinstance(column, Values):
        if not len(column.ordered):
            return "it has no values"
        return f"it has {len(column.values)} values, {_span(column.units.restore(column.ordered[[0, -1]]), kind)}"
    assert isinstance(column, Bins)
    return f"it has values {_span(column.ranges()[[0, column.field.ordered - 1], [0, 1]], kind)}"


def _known_categories(column: Categories) -> str:
    some = ", ".join(map(str, column.values[:8]))
    return f"known: {some}{' …' if len(column.values) > 8 else ''}"


def _span(ends: NDArray[Any], kind: Any) -> str:
    """Return two values of the Arrow type `kind` in words."""
    values = to_column(ends, np.zeros(2, dtype=np.bool_), kind).to_pylist()
    low, high = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return f"from {low} to {high}"
