"""What the columns of a table are taken for, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from morphogen.core.errors import UserError

from .options import Kind

_UNIQUE = 0.98  # of the values are different in a key
_FEW = 20  # values tell nothing of uniqueness
_SHARE = 0.95  # of the cells that are numbers make the others mistakes
_CATEGORIES = 20_000  # more are no categories
_LONG = 40  # characters, on average, of free text
_SHORT = 64  # characters, at most, of a key
_LOOKED_AT = 1000  # values against a pattern
_KEY_NAME = re.compile(r"(^|[\W_])(id|key|uuid|guid|no|nr|number|index|rownum)$", re.IGNORECASE)
_PERSON_NAME = re.compile(
    r"(^|[\W_])((first|last|full|family|given|middle|customer|patient|user)[\W_]?name|surname)s?$", re.IGNORECASE
)
# What a person is told by, as `personal.py` makes it anew.
_PATTERNS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
    "uuid": re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE),
    "ip": re.compile(r"(\d{1,3}\.){3}\d{1,3}"),
    "iban": re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}"),
    "ssn": re.compile(r"\d{3}-\d{2}-\d{4}"),
    "phone": re.compile(r"(?=(?:\D*\d){7})\+?[\d\s().-]{7,20}"),
}


@dataclass(frozen=True)
class Taken:
    """What a column is taken for; `form`, of a key or personal data, is what it is made anew as."""

    kind: Kind | Literal["sum"]
    why: str
    form: str = ""


def infer(name: str, column: Any) -> Taken:
    """The kind of an Arrow column. Raises UserError on what no kind is for, and on numbers mixed with others."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    kind, count = column.type, len(column) - column.null_count
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        raise UserError(f"column '{name}' holds {kind} values; expected numbers, text or dates: drop it")
    if types.is_null(kind) or not count:
        return Taken("constant", "all missing")
    distinct = len(compute.unique(compute.drop_null(column)))
    if distinct == 1 and not column.null_count:
        return Taken("constant", "one value")
    if types.is_boolean(kind):
        return Taken("boolean", "two values")
    if types.is_temporal(kind):
        return Taken("datetime", str(kind))
    alone = count >= _FEW and distinct > _UNIQUE * count
    if types.is_integer(kind):
        return _integer(name, column, alone)
    if types.is_floating(kind) or types.is_decimal(kind):
        return Taken("float", f"{distinct:,} different")
    return _string(name, column, count, distinct, alone)


def _integer(name: str, column: Any, alone: bool) -> Taken:
    import pyarrow.compute as compute

    ends = compute.min_max(column)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if alone and not column.null_count and (high - low < 1.05 * len(column) or _KEY_NAME.search(name)):
        return Taken("key", f"as many values as rows, from {low} to {high}", "number")
    return Taken("integer", f"from {low} to {high}")


def _string(name: str, column: Any, count: int, distinct: int, alone: bool) -> Taken:
    import pyarrow.compute as compute
    import pyarrow.types as types

    if types.is_dictionary(column.type):  # said to be one
        return Taken("category", f"{distinct:,} different")
    _refuse_mixed(name, column, count)
    there = compute.drop_null(column)
    some = [
        str(value) for value in there.take(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)).to_pylist()
    ]
    if distinct > 0.5 * count and count >= _FEW:
        for form, pattern in _PATTERNS.items():
            if sum(bool(pattern.fullmatch(value.strip())) for value in some) >= 0.9 * len(some):
                return Taken("key" if form == "uuid" else "personal", f"looks like {form}", form)
        if _PERSON_NAME.search(name):
            return Taken("personal", "a name, by the column's name", "name")
    mean = sum(map(len, some)) / len(some)
    one_word = sum(not re.search(r"\s", value.strip()) for value in some) >= 0.9 * len(some)
    if alone and one_word and max(map(len, some)) <= _SHORT:
        return Taken("key", "a different value in every row", "pattern")
    if (mean >= _LONG and distinct > 0.2 * count) or (alone and count >= 100) or distinct > _CATEGORIES:
        return Taken("text", f"{distinct:,} different, of {mean:.0f} characters")
    return Taken("category", f"{distinct:,} different")


def _refuse_mixed(name: str, column: Any, count: int) -> None:
    """Raises UserError naming the first row whose cell is none of the numbers that almost all others are."""
    import pyarrow.compute as compute

    numeric = compute.match_substring_regex(column, r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
    found = compute.sum(numeric).as_py() or 0
    if found < count and found >= _SHARE * count and count >= _FEW:
        row = compute.index(numeric, value=False).as_py()
        raise UserError(
            f"column '{name}' holds {column[row].as_py()!r} in row {row}, and numbers in {found:,} of {count:,} rows; "
            f"mend that row, or take it for text: --codec.kinds {name} category"
        )
