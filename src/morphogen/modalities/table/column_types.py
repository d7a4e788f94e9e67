"""The kind of each column of a table, inferred from its values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from morphogen.core.errors import UserError

from .cells import plain_type
from .options import Kind
from .units import is_numeric

_UNIQUE = 0.98  # least share of distinct values in a key
_FEW = 20  # fewer values do not show whether a column is unique
_SHARE = 0.95  # where this share of the cells are numbers, the others are mistakes
_CATEGORIES = 20_000  # most categories
_LONG = 40  # least characters of free text, on average
_SHORT = 64  # most characters of a key
_EXAMINED = 1000  # values that are matched against a pattern
_KEY_NAME = re.compile(r"(^|[\W_])(id|key|uuid|guid|no|nr|number|index|rownum)$", re.IGNORECASE)
_PERSON_NAME = re.compile(
    r"(^|[\W_])((first|last|full|family|given|middle|customer|patient|user)[\W_]?name|surname)s?$", re.IGNORECASE
)
# Personal data, in the forms that `pii.py` generates.
_PATTERNS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
    "uuid": re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE),
    "ip": re.compile(r"(\d{1,3}\.){3}\d{1,3}"),
    "iban": re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}"),
    "ssn": re.compile(r"\d{3}-\d{2}-\d{4}"),
    "phone": re.compile(r"(?=(?:\D*\d){7})\+?[\d\s().-]{7,20}"),
}


@dataclass(frozen=True)
class ColumnType:
    """The kind of a column and the reason for it; `form` is that of a key or of personal data, as it is generated."""

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
    distinct = len(compute.unique(compute.drop_null(column)))
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
    return _string(name, column, count, distinct, unique)


def is_categorical(kind: Any) -> bool:
    """Return whether values of an Arrow type can be categories: text, numbers and booleans, which JSON can hold."""
    import pyarrow.types as types

    kind = plain_type(kind)
    number = types.is_integer(kind) or types.is_floating(kind)
    return number or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)


def _integer(name: str, column: Any, unique: bool) -> ColumnType:
    import pyarrow.compute as compute

    ends = compute.min_max(column)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if unique and not column.null_count and (high - low < 1.05 * len(column) or _KEY_NAME.search(name)):
        return ColumnType("key", f"as many values as rows, from {low} to {high}", "number")
    return ColumnType("integer", f"from {low} to {high}")


def _string(name: str, column: Any, count: int, distinct: int, unique: bool) -> ColumnType:
    values = _examined(column)
    if distinct > 0.5 * count and count >= _FEW and (form := text_form(name, column)):
        reason = "a name, by the column's name" if form == "name" else f"looks like {form}"
        return ColumnType("key" if form == "uuid" else "personal", reason, form)
    mean = sum(map(len, values)) / len(values)
    one_word = sum(not re.search(r"\s", value.strip()) for value in values) >= 0.9 * len(values)
    if unique and one_word and max(map(len, values)) <= _SHORT:
        return ColumnType("key", "a distinct value in every row", "pattern")
    if (mean >= _LONG and distinct > 0.2 * count) or (unique and count >= 100) or distinct > _CATEGORIES:
        return ColumnType("free_text", f"{distinct:,} distinct, of {mean:.0f} characters on average")
    return ColumnType("category", f"{distinct:,} distinct")


def _examined(column: Any) -> list[str]:
    """Return up to a thousand values of a column of text, evenly spaced."""
    import pyarrow.compute as compute

    present = compute.drop_null(column)
    return list(present.take(np.linspace(0, len(present) - 1, min(len(present), _EXAMINED)).astype(int)).to_pylist())


def text_form(name: str, column: Any) -> str:
    """Return the form of personal data, or `uuid`, that a column of text has; empty where it has none."""
    values = _examined(column)
    for form, pattern in _PATTERNS.items():
        if values and sum(bool(pattern.fullmatch(value.strip())) for value in values) >= 0.9 * len(values):
            return form
    return "name" if _PERSON_NAME.search(name) else ""


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
