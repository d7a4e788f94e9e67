"""What a user asks rows to be: a value, several, a range, or missing, in each of some columns."""

from __future__ import annotations

import difflib
import re
from typing import Any

import numpy as np

from morphogen.core.errors import UserError

from .columns import Bins, Categories, Column, Values, Wanted
from .units import parse

MISSING = "missing"
_RANGE = re.compile(r"^(?P<low>[^<>=]*?)\.\.(?P<high>[^<>=]*)$")
_BOUND = re.compile(r"^(?P<sign>>=|<=)(?P<value>.+)$")


def read_wanted(name: str, value: Any, column: Column, kind: Any) -> Wanted:
    """What a user wrote: a value, `30..40`, `>=30`, `<=40`, `a|b`, `missing`, or None.

    Raises UserError, with the nearest known value, where no cell can be so.
    """
    wanted = _wanted(name, value, column, kind)
    if not column.chances(wanted)[0].any():
        raise UserError(f"no cell of column '{name}' can be {value}; {_known(column)}")
    return wanted


def _wanted(name: str, value: Any, column: Column, kind: Any) -> Wanted:
    if value is None or (isinstance(value, str) and value == MISSING and not _has(column, value)):
        return Wanted(missing=True)
    if isinstance(column, Categories):
        return Wanted(values=tuple(_category(name, one, column) for one in _several(value, column)))
    if not isinstance(value, str):
        return Wanted(values=(value,))
    try:
        if bound := _BOUND.match(value.strip()):
            number = parse(bound["value"], kind)
            return Wanted(low=number) if bound["sign"] == ">=" else Wanted(high=number)
        if span := _RANGE.match(value.strip()):
            low = parse(span["low"], kind) if span["low"].strip() else None
            high = parse(span["high"], kind) if span["high"].strip() else None
            if low is not None and high is not None and low > high:
                raise UserError(f"column '{name}' is asked to be from {low} to {high}; give the smaller one first")
            return Wanted(low=low, high=high)
        return Wanted(values=tuple(parse(one, kind) for one in value.split("|")))
    except ValueError:
        raise UserError(
            f"column '{name}' is asked to be '{value}'; expected a number or date, a range as 30..40, >=30 or <=40, "
            f"several as 1|2, or {MISSING}; {_known(column)}"
        ) from None


def _has(column: Column, value: str) -> bool:
    return isinstance(column, Categories) and value in column.values


def _several(value: Any, column: Categories) -> list[Any]:
    return value.split("|") if isinstance(value, str) and value not in column.values else [value]


def _category(name: str, value: Any, column: Categories) -> Any:
    for known in column.values:
        if known == value or str(known).lower() == str(value).lower():
            return known
    names = [str(known) for known in column.values]
    nearest = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'?" if nearest else _known(column)
    raise UserError(f"column '{name}' has no value '{value}' that is frequent enough to be modelled; {hint}")


def _known(column: Column) -> str:
    """What cells can be, in words."""
    if isinstance(column, Categories):
        some = ", ".join(map(str, column.values[:8]))
        return f"known: {some}{' …' if len(column.values) > 8 else ''}"
    if isinstance(column, Values):
        real = column.units.restore(column.values)
        return f"known are {len(real)} values from {np.nanmin(real):g} to {np.nanmax(real):g}" if len(real) else "none"
    assert isinstance(column, Bins)
    ends = column.units.restore(np.array([column.edges[0, 0], column.edges[-1, -1]]))
    return f"known are numbers from {ends[0]:g} to {ends[1]:g}"
