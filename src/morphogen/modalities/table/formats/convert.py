"""Columns in one format as columns in another, such as the rows to impute in the formats of the training table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .column import ColumnFormat, is_text, whole
from .moments import MomentFormat


def convert(column: Any, own: ColumnFormat | None, target: ColumnFormat | None, kind: Any) -> Any:
    """Return the plain column of format `own` as one of format `target` and, if it is text, of the Arrow type `kind`.

    A column that has a type of its own, and was not text, stays as it is. Raises `Unreadable` on a cell that is not
    written in the format.
    """
    import pyarrow as arrow

    if _alike(own, target):
        return column
    if isinstance(target, MomentFormat) and target.whole_numbers and arrow.types.is_integer(column.type):
        return target.read(column.cast(arrow.int64()))
    if own is not None and own.textual and (target is None or target.textual):
        column = column if target is None and not is_text(kind) else replace(own, missing=None).write(column)
    if target is not None and target.textual and is_text(column.type):
        return replace(target, missing=None).read(whole(column.cast(arrow.string())))
    return column


def format_after(column: Any, own: ColumnFormat | None, target: ColumnFormat | None) -> ColumnFormat | None:
    """Return the format of the column that `convert` returns for a plain column of format `own`."""
    was_text = is_text(column.type) if own is None else own.textual
    return target if was_text and target is not None and target.textual else own


def _alike(own: ColumnFormat | None, target: ColumnFormat | None) -> bool:
    """Return whether two formats differ in the mark of missing cells at most."""
    if own is None or target is None:
        return own is target
    return own == replace(target, missing=own.missing)
