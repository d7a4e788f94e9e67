"""What rows have to obey, read from words: checked on the data before training, and kept by every row that is made."""

from __future__ import annotations

import operator
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError, unknown

from .units import parse, to_numbers

Form = Literal["order", "range", "sum", "unique", "fixed", "one-hot", "missing"]
_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}
_SYNTAX = (
    "expected one of: a <= b, a < b, a >= 0, a <= 10, total = a + b, unique a, fixed a b, one-hot a b c, "
    "a missing unless b = value, a missing where b = value; quote names that have spaces"
)


@dataclass(frozen=True)
class Constraint:
    """One thing that rows obey, and the words it was asked for in.

    `columns` are, of an order, the lower and the higher one; of a sum the total and its parts; of `missing`, the one
    that is missing and the one that decides, `unless` or where that has `value`. A range goes from `low` to `high`.
    """

    form: Form
    words: str
    columns: tuple[str, ...]
    strict: bool = False
    low: float | int | None = None
    high: float | int | None = None
    value: str = ""
    unless: bool = False


def read(words: str, schema: Any) -> Constraint:
    """A constraint in words, on the columns of an Arrow schema. Raises UserError with what was expected."""
    try:
        parts = shlex.split(words)
    except ValueError as error:
        raise UserError(f"the constraint '{words}' is not understood ({error}); {_SYNTAX}") from None
    found = _read(words, parts, schema)
    if found is None:
        raise UserError(f"the constraint '{words}' is not understood; {_SYNTAX}")
    for name in found.columns:
        if name not in schema.names:
            raise unknown("column", name, schema.names)
    if len(set(found.columns)) < len(found.columns):
        raise UserError(f"the constraint '{words}' names a column twice")
    return found


def _read(words: str, parts: Sequence[str], schema: Any) -> Constraint | None:
    match parts:
        case ["unique", name]:
            return Constraint("unique", words, (name,))
        case ["fixed" | "one-hot" as form, _, _, *_]:
            return Constraint("fixed" if form == "fixed" else "one-hot", words, tuple(parts[1:]))
        case [name, "missing", "unless" | "where" as how, other, "=" | "==", value]:
            return Constraint("missing", words, (name, other), value=value, unless=how == "unless")
        case [total, "=" | "==", first, *rest] if len(rest) >= 2 and set(rest[::2]) == {"+"} and len(rest) % 2 == 0:
            return Constraint("sum", words, (total, first, *rest[1::2]))
        case [left, sign, right] if sign in _SIGNS and right in schema.names:
            lower, higher = (left, right) if sign in ("<", "<=") else (right, left)
            return Constraint("order", words, (lower, higher), strict=sign in ("<", ">"))
        case [name, sign, bound] if sign in _SIGNS:
            if name not in schema.names:
                raise unknown("column", name, schema.names)
            try:
                end = parse(bound, schema.field(name).type)
            except ValueError:
                raise UserError(f"the constraint '{words}': '{bound}' is no column and no number; {_SYNTAX}") from None
            low, high = (end, None) if sign in (">", ">=") else (None, end)
            return Constraint("range", words, (name,), strict=sign in ("<", ">"), low=low, high=high)
    return None


def contradictions(found: Sequence[Constraint]) -> None:
    """Raises UserError naming two that no row can obey together, or that would both decide on a column."""
    taken: dict[str, Constraint] = {}
    for one in found:
        if one.form in ("fixed", "one-hot", "unique", "sum"):
            owned = one.columns[:1] if one.form == "sum" else one.columns
            for name in owned:
                if name in taken:
                    raise UserError(f"both '{taken[name].words}' and '{one.words}' decide on column '{name}'; drop one")
                taken[name] = one
    for one in found:
        if one.form in ("order", "missing"):
            for name in one.columns:
                if name in taken:
                    raise UserError(f"both '{taken[name].words}' and '{one.words}' decide on column '{name}'; drop one")
    ranges = [one for one in found if one.form == "range"]
    for one in ranges:
        for other in ranges:
            if one.columns != other.columns or one.low is None or other.high is None:
                continue
            if one.low > other.high or (one.low == other.high and (one.strict or other.strict)):
                raise UserError(f"no value obeys both '{one.words}' and '{other.words}'; drop one")
    orders = closure([one for one in found if one.form == "order"])
    for (lower, higher), (strict, words) in orders.items():
        if (higher, lower) in orders and (strict or orders[higher, lower][0]):
            raise UserError(f"no row obeys both '{words}' and '{orders[higher, lower][1]}'; drop one")
    for one in found:
        for other in found:
            alike = one.form == other.form == "missing" and (one.columns, one.value) == (other.columns, other.value)
            if alike and one.unless != other.unless:
                raise UserError(f"no row obeys both '{one.words}' and '{other.words}'; drop one")


def closure(orders: Sequence[Constraint]) -> dict[tuple[str, str], tuple[bool, str]]:
    """All pairs (lower, higher) that follow: whether strictly, and from which words."""
    found = {(one.columns[0], one.columns[1]): (one.strict, one.words) for one in orders}
    names = sorted({name for pair in found for name in pair})
    for middle in names:
        for low in names:
            for high in names:
                if low != high and (low, middle) in found and (middle, high) in found:
                    strict = found[low, middle][0] or found[middle, high][0]
                    if (low, high) not in found or (strict and not found[low, high][0]):
                        found[low, high] = (strict, found[low, middle][1])
    return found


def verify(one: Constraint, table: Any) -> None:
    """Raises UserError naming the first row of the data that does not obey."""
    broken = violations(one, table)
    if broken.any():
        row = int(broken.argmax())
        cells = ", ".join(f"{name} {table.column(name)[row].as_py()!r}" for name in one.columns)
        raise UserError(
            f"{int(broken.sum()):,} of {len(table):,} rows do not obey '{one.words}', the first is row {row}: {cells}; "
            "mend them, or drop the constraint"
        )


def violations(one: Constraint, table: Any) -> NDArray[np.bool_]:
    """Which rows do not obey; what is missing obeys all but what is about missing cells."""
    if one.form in ("order", "range", "sum"):
        pairs = [_numbers(one, table, name) for name in one.columns]
        there = np.logical_and.reduce([~missing for _, missing in pairs])
        values = [value for value, _ in pairs]
        if one.form == "order":
            return there & ~(values[0] < values[1] if one.strict else values[0] <= values[1])
        if one.form == "sum":
            total = np.sum(values[1:], axis=0)
            return there & ~np.isclose(values[0], total, rtol=1e-9, atol=1e-6)
        obeyed = np.ones(len(table), dtype=np.bool_)
        if one.low is not None:
            obeyed &= values[0] > one.low if one.strict else values[0] >= one.low
        if one.high is not None:
            obeyed &= values[0] < one.high if one.strict else values[0] <= one.high
        return there & ~obeyed
    columns = [table.column(name) for name in one.columns]
    if one.form == "missing":
        gone = np.asarray(columns[0].is_null().to_numpy())
        meets = np.array([str(value) == one.value for value in columns[1].to_pylist()])
        return gone == meets if one.unless else meets & ~gone
    cells = list(zip(*(column.to_pylist() for column in columns), strict=True))
    if one.form == "one-hot":
        return np.array([sum(map(bool, row)) != 1 or not set(row) <= {0, 1} for row in cells])
    if one.form == "unique":
        _, inverse, counts = np.unique(np.array([repr(row) for row in cells]), return_inverse=True, return_counts=True)
        return np.asarray(counts[inverse] > 1)
    return np.zeros(len(table), dtype=np.bool_)


def _numbers(one: Constraint, table: Any, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    import pyarrow.types as types

    column = table.column(name).combine_chunks()
    kind = column.type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_temporal(kind)):
        raise UserError(f"the constraint '{one.words}' is about numbers or dates, and column '{name}' holds {kind}")
    return to_numbers(column)
