"""The kind of each column of a table, inferred from its values and its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from morphogen.core.errors import UserError

from .cells import plain, plain_type
from .options import Kind
from .personal.recognise import recognise
from .personal.words import is_called_code, is_called_key, is_called_person_key
from .units import is_numeric

_UNIQUE = 0.98  # least share of distinct values in a key
_FEW = 20  # fewer values do not show whether a column is unique
_SHARE = 0.95  # where this share of the cells are numbers, the others are mistakes
_CATEGORIES = 20_000  # most categories
_LONG = 40  # least characters of free text, on average
_SHORT = 64  # most characters of a key
_EXAMINED = 1000  # values that are matched against a pattern


@dataclass(frozen=True)
class ColumnType:
    """The kind of a column and the reason for it; `form` is that of a key, text or personal data, if made anew."""

    kind: Kind | Literal["sum"]
    reason: str
    form: str = ""


def infer(name: str, column: Any) -> ColumnType:
    """Return the type of an Arrow column.

    Raises UserError on types that cannot be modelled, and on numbers mixed with other values.
    """
    import pyarrow.compute as compute
    import pyarrow.types as types

    kind, count = column.type, len(column) - column.null_count
    if types.is_null(kind) or not count:
        return ColumnType("constant", "all missing")
    if not (is_numeric(kind) or is_categorical(kind)):
        raise UserError(f"column '{name}' holds {kind} values; expected numbers, text or dates: drop it")
    distinct = len(compute.unique(compute.drop_null(plain(column))))
    personal = personal_type(name, column, repeated=distinct <= 0.5 * count)
    if personal is not None:
        return personal
    if distinct == 1 and not column.null_count:
        return ColumnType("constant", "one value")
    if types.is_dictionary(kind):  # the type itself says so
        return ColumnType("category", f"{distinct:,} distinct")
    if types.is_boolean(kind):
        return ColumnType("boolean", "two values")
    if types.is_temporal(kind):
        return ColumnType("datetime", str(kind))
    unique = count >= _FEW and distinct > _UNIQUE * count
    if types.is_integer(kind):
        return _integer(name, column, unique)
    if types.is_floating(kind) or types.is_decimal(kind):
        return ColumnType("float", f"{distinct:,} distinct")
    _refuse_mixed(name, column, count)
    if is_called_person_key(name) and distinct >= _FEW and not unique:
        return ColumnType("personal", f"numbers of persons, since it is called '{name}'", "pattern")
    if is_called_code(name):
        return ColumnType("category", f"codes, since it is called '{name}'", "code")
    return _string(column, count, distinct, unique)


def is_categorical(kind: Any) -> bool:
    """Return whether values of an Arrow type can be categories: text, numbers and booleans, which JSON can hold."""
    import pyarrow.types as types

    kind = plain_type(kind)
    number = types.is_integer(kind) or types.is_floating(kind)
    return number or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)


def texts_of(column: Any) -> list[str]:
    """Return the values of a column of text or whole numbers that are not missing, as text; none of any other type."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    present, kind = compute.drop_null(plain(column)), plain_type(column.type)
    if types.is_float32(kind) or types.is_float64(kind):  # whole numbers beside missing ones, as pandas holds them
        present = present.drop_null()
        if not len(present) or not compute.all(compute.equal(compute.floor(present), present)).as_py():
            return []
        return [str(int(value)) if abs(value) < 2**63 else "" for value in present.to_pylist()]
    if types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind):
        return [str(value) for value in present.to_pylist()]
    return []


def personal_type(name: str, column: Any, *, repeated: bool) -> ColumnType | None:
    """Return the type of a column of personal data, or of UUIDs, with the reason; None where it is neither."""
    import pyarrow.compute as compute

    distinct = compute.unique(compute.drop_null(plain(column)))
    some = texts_of(distinct.take(np.linspace(0, len(distinct) - 1, min(len(distinct), _EXAMINED)).astype(int)))
    are_numbers = is_numeric(plain_type(column.type))
    recognised = recognise(name, [value for value in some if value], are_numbers=are_numbers, repeated=repeated)
    if recognised is None:
        return None
    is_key = recognised.form == "uuid" and not repeated
    return ColumnType("key" if is_key else "personal", recognised.reason, recognised.form)


def _integer(name: str, column: Any, unique: bool) -> ColumnType:
    import pyarrow.compute as compute

    ends = compute.min_max(column)
    span = ends["max"].as_py() - ends["min"].as_py()
    if unique and (span < 1.25 * len(column) or is_called_key(name)):
        return ColumnType("key", "a distinct number in every row", "number")
    if is_called_person_key(name) and len(compute.unique(column)) >= _FEW:
        return ColumnType("personal", f"numbers of persons, since it is called '{name}'", "number")
    if is_called_code(name):
        return ColumnType("category", f"codes, since it is called '{name}'", "code")
    return ColumnType("integer", f"{len(compute.unique(column)):,} distinct")


def _string(column: Any, count: int, distinct: int, unique: bool) -> ColumnType:
    values = _examined(column)
    mean = sum(map(len, values)) / len(values)
    one_word = sum(not re.search(r"\s", value.strip()) for value in values) >= 0.9 * len(values)
    if unique and one_word and max(map(len, values)) <= _SHORT:
        return ColumnType("key", "a distinct value in every row", "pattern")
    if (mean >= _LONG and distinct > 0.2 * count) or unique or distinct > _CATEGORIES:
        reason = f"{distinct:,} distinct, of {mean:.0f} characters on average"
        return ColumnType("free_text", reason, "free text")
    return ColumnType("category", f"{distinct:,} distinct")


def _examined(column: Any) -> list[str]:
    """Return up to a thousand values of a column of text, evenly spaced."""
    import pyarrow.compute as compute

    present = compute.drop_null(column)
    return list(present.take(np.linspace(0, len(present) - 1, min(len(present), _EXAMINED)).astype(int)).to_pylist())


def _refuse_mixed(name: str, column: Any, count: int) -> None:
    """Raise UserError naming the first row whose cell is no number where almost all others are."""
    import pyarrow.compute as compute

    is_number = compute.match_substring_regex(column, r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
    numbers = compute.sum(is_number).as_py() or 0
    if numbers < count and numbers >= _SHARE * count and count >= _FEW:
        row = compute.index(is_number, value=False).as_py()
        raise UserError(
            f"column '{name}' holds {column[row].as_py()!r} in row {row}, and numbers in {numbers:,} of {count:,} "
            f"rows; correct that row, or make the column a category: --codec.kinds {name} category"
        )
