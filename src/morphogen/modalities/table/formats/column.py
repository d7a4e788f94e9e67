"""The format of one column: how its cells are written, apart from the values that the statistics see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


class Unreadable(ValueError):
    """A cell that is not written in a column's format."""

    def __init__(self, cell: Any, expected: str) -> None:
        """`cell` is the first such one; `expected` says in words what the format is, with an example."""
        super().__init__(f"{cell!r:.60}; expected {expected}")


@dataclass(frozen=True, kw_only=True)
class ColumnFormat(ABC):
    """Maps the cells of a column as they are written to plain Arrow values, and back.

    `missing` is the text of a missing cell; None: a cell is missing where Arrow says so.
    """

    kind: ClassVar[str]
    textual: ClassVar[bool] = True  # cells are written as text
    missing: str | None = None

    def read(self, cells: Any) -> Any:
        """Return the plain Arrow array of an Arrow array of cells.

        Raises Unreadable with the first cell that has another format.
        """
        import pyarrow.compute as compute

        cells = whole(cells)
        if self.missing is not None:
            cells = compute.replace_with_mask(
                cells, compute.fill_null(compute.equal(cells, self.missing), False), _null(cells.type)
            )
        encoded = cells.dictionary_encode()
        plain = self.read_distinct(encoded.dictionary)
        return plain.take(encoded.indices)

    def write(self, values: Any) -> Any:
        """Return the Arrow array of cells of a plain Arrow array; the reverse of `read`."""
        import pyarrow.compute as compute

        encoded = whole(values).dictionary_encode()
        cells = self.write_distinct(encoded.dictionary).take(encoded.indices)
        return cells if self.missing is None else compute.fill_null(cells, self.missing)

    @abstractmethod
    def read_distinct(self, cells: Any) -> Any:
        """Return the plain values of cells of which none is missing. Raises Unreadable."""

    @abstractmethod
    def write_distinct(self, values: Any) -> Any:
        """Return the cells of plain values of which none is missing."""

    def value(self, given: Any) -> Any:
        """Return the plain value of a cell's text, or of a number as Python writes it. Raises Unreadable."""
        if not isinstance(given, str):
            return given
        if not self.textual:
            raise Unreadable(given, self.words)
        return self.read_distinct(strings([given.strip()]))[0].as_py()

    @property
    @abstractmethod
    def words(self) -> str:
        """What a cell looks like, for messages and notes; empty where there is nothing to say."""

    def state(self) -> dict[str, Any]:
        """Return plain JSON from which `registry.format_from_state` builds the format again."""
        defaults = {name: field.default for name, field in self.__dataclass_fields__.items()}
        return {"kind": self.kind} | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value != defaults[name]
        }


def whole(column: Any) -> Any:
    """Return an Arrow column as one array."""
    if not hasattr(column, "chunks"):
        return column
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def proven(column_format: ColumnFormat, cells: Any) -> bool:
    """Return whether a format writes each of these distinct cells back as it was."""
    try:
        return bool(column_format.write_distinct(column_format.read_distinct(cells)).equals(cells))
    except ValueError:
        return False


def strings(texts: Sequence[str]) -> Any:
    """Return texts as an Arrow array."""
    import pyarrow as arrow

    return arrow.array(texts, arrow.string())


def is_text(kind: Any) -> bool:
    """Return whether values of an Arrow type are text."""
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _null(kind: Any) -> Any:
    import pyarrow as arrow

    return arrow.scalar(None, kind)
