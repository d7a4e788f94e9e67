"""Constraints on rows, written in words: verified on the data before training, satisfied by every generated row."""

from __future__ import annotations

import operator
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError, unknown

from .conditions import MISSING
from .units import is_numeric, parse, to_numbers

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
    """A rule that every row satisfies, and the words that it was written in.

    `columns` of an order are the lower and the higher one; of a sum the total and its parts; of `missing` the one that
    is missing, and the column that decides: where that equals `value`, or, with `unless`, where it does not. A range
    goes from `low` to `high`.
    """

    form: Form
    words: str
    columns: tuple[str, ...]
    strict: bool = False
    low: float | int | None = None
    high: float | int | None = None
    value: str = ""
    unless: bool = False


def parse_constraint(words: str, schema: Any) -> Constraint:
    """Return the constraint in words on the columns of an Arrow schema. Raises UserError with what was expected."""
    try:
        parts = shlex.split(words)
    except ValueError as error:
        raise UserError(f"the constraint '{words}' is not understood ({error}); {_SYNTAX}") from None
    constraint = _parse(words, parts, schema)
    if constraint is None:
        raise UserError(f"the constraint '{words}' is not understood; {_SYNTAX}")
    for name in constraint.columns:
        if name not in schema.names:
            raise unknown("column", name, schema.names)
    if len(set(constraint.columns)) < len(constraint.columns):
        raise UserError(f"the constraint '{words}' names a column twice; name different ones")
    return constraint


def _parse(words: str, parts: Sequence[str], schema: Any) -> Constraint | None:
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


def check_consistent(constraints: Sequence[Constraint]) -> None:
    """Raise UserError naming two constraints that no row can satisfy together, or that determine the same column."""
    determined: dict[str, Constraint] = {}
    for one in constraints:
        if one.form in ("fixed", "one-hot", "unique", "sum"):
            for name in one.columns[:1] if one.form == "sum" else one.columns:
                if name in determined:
                    raise _both_determine(determined[name], one, name)
                determined[name] = one
    for one in constraints:
        if one.form in ("order", "missing"):
            for name in one.columns:
                if name in determined:
                    raise _both_determine(determined[name], one, name)
    for one, other in permutations(constraints, 2):
        if one.form == other.form == "range" and one.columns == other.columns:
            if one.low is None or other.high is None:
                continue
            if one.low > other.high or (one.low == other.high and (one.strict or other.strict)):
                raise UserError(f"no value satisfies both '{one.words}' and '{other.words}'; drop one")
        alike = one.form == other.form == "missing" and (one.columns, one.value) == (other.columns, other.value)
        if alike and one.unless != other.unless:
            raise UserError(f"no row satisfies both '{one.words}' and '{other.words}'; drop one")
    orders = closure([one for one in constraints if one.form == "order"])
    for (lower, higher), (strict, words) in orders.items():
        if (higher, lower) in orders and (strict or orders[higher, lower][0]):
            raise UserError(f"no row satisfies both '{words}' and '{orders[higher, lower][1]}'; drop one")


def _both_determine(one: Constraint, other: Constraint, name: str) -> UserError:
    return UserError(f"both '{one.words}' and '{other.words}' determine column '{name}'; drop one")


def closure(orders: Sequence[Constraint]) -> dict[tuple[str, str], tuple[bool, str]]:
    """Return all pairs (lower, higher) that follow from the orders: whether strictly, and from which words."""
    pairs = {(one.columns[0], one.columns[1]): (one.strict, one.words) for one in orders}
    names = sorted({name for pair in pairs for name in pair})
    for middle in names:
        for low in names:
            for high in names:
                if low != high and (low, middle) in pairs and (middle, high) in pairs:
                    strict = pairs[low, middle][0] or pairs[middle, high][0]
                    if (low, high) not in pairs or (strict and not pairs[low, high][0]):
                        pairs[low, high] = (strict, pairs[low, middle][1])
    return pairs


def verify(one: Constraint, table: Any) -> None:
    """Raise UserError naming the first row of the data that violates the constraint, or a value that no row has."""
    violated = violations(one, table)
    if violated.any():
        row = int(violated.argmax())
        cells = ", ".join(f"{name} {table.column(name)[row].as_py()!r}" for name in one.columns)
        raise UserError(
            f"{int(violated.sum()):,} of {len(table):,} rows violate '{one.words}', the first is row {row}: {cells}; "
            "correct them, or drop the constraint"
        )
    if one.form == "missing" and not _matches(one, table.column(one.columns[1])).any():
        raise UserError(f"column '{one.columns[1]}' never is '{one.value}', which '{one.words}' names; correct it")


def violations(one: Constraint, table: Any) -> NDArray[np.bool_]:
    """Return which rows violate the constraint; a missing cell violates none but those about missing cells."""
    if one.form in ("order", "range", "sum"):
        return _numeric_violations(one, table)
    columns = [table.column(name) for name in one.columns]
    if one.form == "missing":
        missing = np.asarray(columns[0].is_null().to_numpy())
        matches = _matches(one, columns[1])
        return missing == matches if one.unless else matches & ~missing
    rows = list(zip(*(column.to_pylist() for column in columns), strict=True))
    if one.form == "one-hot":
        return np.array([sum(map(bool, row)) != 1 or not set(row) <= {0, 1} for row in rows])
    if one.form == "unique":
        counts = Counter(map(repr, rows))
        return np.array([row != (None,) and counts[repr(row)] > 1 for row in rows])
    return np.zeros(len(table), dtype=np.bool_)


def _matches(one: Constraint, column: Any) -> NDArray[np.bool_]:
    """Return where a column has the value that a constraint names, as conditions understand it."""
    if is_numeric(column.type) and one.value != MISSING:
        try:
            value = parse(one.value, column.type)
        except ValueError:
            raise UserError(f"the constraint '{one.words}' needs a number or date instead of '{one.value}'") from None
        values, missing = to_numbers(column)
        return ~missing & (values == value)
    texts = [str(value) if value is not None else None for value in column.to_pylist()]
    if one.value in texts:
        return np.array([text == one.value for text in texts])
    wanted = None if one.value == MISSING else one.value.lower()
    return np.array([(text if text is None else text.lower()) == wanted for text in texts])


def _numeric_violations(one: Constraint, table: Any) -> NDArray[np.bool_]:
    import pyarrow.types as types

    pairs = [_numbers(one, table, name) for name in one.columns]
    kinds = [table.schema.field(name).type for name in one.columns]
    if one.form == "order" and kinds[0] != kinds[1] and any(map(types.is_temporal, kinds)):
        raise UserError(f"'{one.words}' compares {kinds[0]} with {kinds[1]}; convert both columns to one type")
    present = np.logical_and.reduce([~missing for _, missing in pairs])
    values = [value for value, _ in pairs]
    if one.form == "order":
        return present & ~(values[0] < values[1] if one.strict else values[0] <= values[1])
    if one.form == "sum":
        return present & ~np.isclose(values[0], np.sum(values[1:], axis=0), rtol=1e-9, atol=1e-6)
    satisfied = np.ones(len(table), dtype=np.bool_)
    if one.low is not None:
        satisfied &= values[0] > one.low if one.strict else values[0] >= one.low
    if one.high is not None:
        satisfied &= values[0] < one.high if one.strict else values[0] <= one.high
    return present & ~satisfied


def _numbers(one: Constraint, table: Any, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    column = table.column(name)
    if not is_numeric(column.type):
        raise UserError(f"the constraint '{one.words}' needs numbers or dates, but column '{name}' holds {column.type}")
    return to_numbers(column)
