"""Columns of words: plain text, and two words that stand for true and false."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, final

from .column import ColumnFormat, Unreadable

_PAIRS = (("true", "false"), ("True", "False"), ("TRUE", "FALSE"))


@final
@dataclass(frozen=True, kw_only=True)
class TextFormat(ColumnFormat):
    """Text as it is."""

    kind: ClassVar[str] = "plain"

    def read_distinct(self, cells: Any) -> Any:
        return cells

    def write_distinct(self, values: Any) -> Any:
        import pyarrow as arrow

        return values.cast(arrow.string())

    @property
    def words(self) -> str:
        return ""


@final
@dataclass(frozen=True, kw_only=True)
class BooleanFormat(ColumnFormat):
    """A word for true and one for false."""

    kind: ClassVar[str] = "boolean"
    true: str = "true"
    false: str = "false"

    def read_distinct(self, cells: Any) -> Any:
        import pyarrow as arrow

        for cell in cells.to_pylist():
            if cell not in (self.true, self.false):
                raise Unreadable(cell, self.words)
        return arrow.array([cell == self.true for cell in cells.to_pylist()], arrow.bool_())

    def write_distinct(self, values: Any) -> Any:
        import pyarrow.compute as compute

        return compute.if_else(values, self.true, self.false)

    @property
    def words(self) -> str:
        return f"{self.true} or {self.false}"


def infer_booleans(words: Collection[str]) -> BooleanFormat | None:
    """Return the format of a column that has no other words than these; None: they are not true and false."""
    for true, false in _PAIRS:
        if words and set(words) <= {true, false}:
            return BooleanFormat(true=true, false=false)
    return None
