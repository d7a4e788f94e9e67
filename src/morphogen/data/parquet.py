"""Parquet files with a column of items, streamed."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from morphogen.core.errors import BadItem, UserError, needs_extra
from morphogen.core.files import guard

from .base import Source, class_columns, name_by_content
from .choose_column import HEAD, ItemColumn
from .records import describe

_AT_ONCE = 16  # rows that are held at a time


class ParquetFile:
    """An open parquet file with its first rows, by which the column of items is chosen.

    Raises UserError if the file is damaged or empty.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as arrow
        except ImportError:
            raise needs_extra("pyarrow", "arrow", f"reading {path}") from None
        self.path = path
        with guard(path, "is not a readable parquet file", "fetch it again"):
            self.file = _open(path)
            batch = next(self.file.iter_batches(batch_size=1), None)
            if batch is None or not batch.num_rows:
                raise UserError(f"{path} has no rows")
            # Of media, which are large, a single cell.
            self.cells = {name: batch.column(name).to_pylist() for name in batch.schema.names}
            strings = [field.name for field in batch.schema if _is_string(field.type)]
            head = next(self.file.iter_batches(batch_size=HEAD, columns=strings))
            self.cells |= {name: head.column(name).to_pylist() for name in strings}
            simple = [field.name for field in batch.schema if not _is_media(field.type)]
            batches = self.file.iter_batches(batch_size=HEAD, columns=simple)
            self.rows = arrow.Table.from_batches([next(batches)]) if simple else None


class ParquetSource(Source):
    """The items in one column of a parquet file; fast when read in order, slow when read at random."""

    def __init__(self, opened: ParquetFile, column: ItemColumn) -> None:
        self._path, self._file, self._column = opened.path, opened.file, column.name
        self._reader, self.modality = column.reader, column.reader.modality.name
        self._threads = threading.local()
        classes = [
            field.name for field in self._file.schema_arrow if field.name != column.name and _is_class_like(field.type)
        ]
        self.columns = class_columns({name: self._values(name) for name in classes})
        self.description = describe(self._path, len(self), column.words, self.columns)

    def _values(self, name: str) -> Iterator[object]:
        for batch in self._file.iter_batches(batch_size=1024, columns=[name]):
            yield from batch.column(0).to_pylist()

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def read(self, index: int) -> Any:
        # Each thread reads forwards; a cursor that threads share would jump back and forth.
        if not hasattr(self._threads, "cursor"):
            self._threads.cursor = _Cursor(self._path, self._column)
        return self._reader.read(self._threads.cursor.cell(index), self._row(index))

    def item_name(self, index: int) -> str:
        if self._is_text():
            return name_by_content(self, index, self._row(index))
        return self._row(index)

    def _is_text(self) -> bool:
        return not self._reader.as_paths and _is_string(self._file.schema_arrow.field(self._column).type)

    def _row(self, index: int) -> str:
        return f"{self._path.name} row {index}"


class _Cursor:
    """A position in one column of a parquet file; to move back, it reads the row group again from its start."""

    def __init__(self, path: Path, column: str) -> None:
        self._path, self._column = path, column
        self._file = _open(path)
        groups = [self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups)]
        self._starts = [0, *accumulate(groups)]
        self._group, self._start = -1, 0
        self._cells: list[Any] = []
        self._blocks: Iterator[Any] = iter(())

    def cell(self, index: int) -> Any:
        """Return the cell of a row. Raises BadItem if the file is damaged there."""
        current, self._group = self._group, -1  # until the row is read
        with guard(f"{self._path} near row {index}", "is damaged", "fetch it again", BadItem):
            group = bisect_right(self._starts, index) - 1
            if group != current or index < self._start:
                self._blocks = self._file.iter_batches(batch_size=_AT_ONCE, row_groups=[group], columns=[self._column])
                self._start, self._cells = self._starts[group], []
            while index >= self._start + len(self._cells):
                self._start += len(self._cells)
                self._cells = next(self._blocks).column(0).to_pylist()
            self._group = group
        return self._cells[index - self._start]


def _open(path: Path) -> Any:
    """Open a parquet file without read-ahead, so that a large row group is never in memory as a whole."""
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)


def _is_media(kind: Any) -> bool:
    import pyarrow.types as types

    return any(test(kind) for test in (types.is_struct, types.is_binary, types.is_large_binary))


def _is_string(kind: Any) -> bool:
    import pyarrow.types as types

    return any(test(kind) for test in (types.is_string, types.is_large_string))


def _is_class_like(kind: Any) -> bool:
    import pyarrow.types as types

    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean, types.is_dictionary)
    return any(test(kind) for test in tests)
