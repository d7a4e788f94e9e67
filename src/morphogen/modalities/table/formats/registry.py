"""Which format a column has, and formats from what is stored of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .column import ColumnFormat, strings
from .dialect import MARKS
from .moment_patterns import infer_moments
from .moments import MomentFormat
from .numbers import NumberFormat, infer_numbers
from .typed import CastFormat, CategoryFormat, NestedFormat, ScaledFormat, infer_typed
from .words import BooleanFormat, TextFormat, infer_booleans

_WORDS = ("None", "-")  # marks that are values in a column of words
_FORMATS: tuple[type[ColumnFormat], ...] = (
    TextFormat,
    BooleanFormat,
    NumberFormat,
    MomentFormat,
    CategoryFormat,
    NestedFormat,
    ScaledFormat,
    CastFormat,
)


def format_from_state(state: dict[str, Any]) -> ColumnFormat:
    """Return the format that `ColumnFormat.state` described. Raises ValueError where it is none."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in state.items()}
    kind = fields.pop("kind", None)
    known = {one.kind: one for one in _FORMATS}
    if kind not in known:
        raise ValueError(f"a column cannot have the format {kind!r}; expected one of {', '.join(known)}")
    try:
        return known[kind](**fields)
    except TypeError as error:
        raise ValueError(f"the format {kind!r} cannot be read: {error}") from None


def infer_text(cells: Any, *, blanks: bool, decimal_comma: bool = False) -> tuple[ColumnFormat, Any]:
    """Return the format of a column of a text file, Arrow strings, and its plain values.

    `blanks`: cells of the file are missing where they are empty, so that words such as NA are values in a column of
    words. Among numbers, dates and times every mark of `MARKS` is missing, and the most frequent one is written.
    """
    import pyarrow.compute as compute

    distinct = compute.unique(cells)
    words = set(distinct.to_pylist()) if len(distinct) < 1000 else set()
    marks = [mark for mark in MARKS if mark in words] if words else _marks_in(distinct)
    values = distinct.filter(compute.invert(compute.is_in(distinct, strings(MARKS))))
    strict = infer_values(values, decimal_comma=decimal_comma) if len(values) else None
    if strict is not None and not isinstance(strict, TextFormat):
        return with_missing(strict, cells, marks)
    own = [mark for mark in marks if mark == "" or not (blanks or mark in _WORDS)] if len(values) else marks
    return with_missing(TextFormat(), cells, ["" if "" in own else own[0]] if own else [])


def infer_values(distinct: Any, *, decimal_comma: bool = False) -> ColumnFormat:
    """Return the format of distinct strings, of which none is missing; plain text where they have no other."""
    texts = distinct.slice(0, 3).to_pylist()
    booleans = infer_booleans(distinct.to_pylist()) if 0 < len(distinct) <= 2 else None
    has_digits = all(any(character.isdigit() for character in text) or "inf" in text.lower() for text in texts)
    if booleans or not has_digits:
        return booleans or TextFormat()
    return infer_moments(distinct) or infer_numbers(distinct, decimal_comma=decimal_comma) or TextFormat()


def with_missing(column_format: ColumnFormat, cells: Any, marks: Sequence[str]) -> tuple[ColumnFormat, Any]:
    """Return the format with the most frequent of the marks for a missing cell, and the plain values of the cells."""
    from dataclasses import replace

    import pyarrow as arrow
    import pyarrow.compute as compute

    if len(marks) > 1:
        is_mark = compute.is_in(cells, strings(marks))
        frequent = Counter(cells.filter(is_mark).to_pylist()).most_common(1)[0][0]
        cells = compute.if_else(is_mark, frequent, cells)
        marks = [frequent]
    missing = marks[0] if marks else ""
    if not marks and isinstance(column_format, TextFormat):
        return column_format, cells  # nothing is missing: an empty text is a value
    column_format = replace(column_format, missing=missing)
    plain = column_format.read(cells)
    return column_format, plain if isinstance(plain, arrow.ChunkedArray) else arrow.chunked_array([plain])


def _marks_in(distinct: Any) -> list[str]:
    import pyarrow.compute as compute

    present = set(distinct.filter(compute.is_in(distinct, strings(MARKS))).to_pylist())
    return [mark for mark in MARKS if mark in present]


__all__ = ["format_from_state", "infer_text", "infer_typed", "infer_values", "with_missing"]
