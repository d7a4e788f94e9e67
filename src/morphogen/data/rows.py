"""Rows with a column of items: parquet and csv files."""

from __future__ import annotations

import csv
import gzip
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, TextIO

from morphogen.core.errors import BadItem, UserError, needs_extra, unknown

from .base import Column, Source, of_suffix, offered, readers

_ROWS = 16  # rows of a parquet file held at a time


def read_cell(cell: Any, modality: str, folder: Path, name: str) -> Any:
    """The item in a cell: bytes, a struct of bytes and path, or a path relative to `folder`. Raises BadItem."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, str) and cell:
        return readers()[modality].read(folder / cell)
    if isinstance(cell, bytes) and cell:
        return readers()[modality].read(cell, name)
    raise BadItem(f"{name} has an empty cell; remove the row")


def choose_column(candidates: Sequence[str], columns: Sequence[str], asked: str | None, file: str) -> tuple[str, str]:
    """The column of items, and how to say it. Raises UserError where there is none, or not the one asked for."""
    if asked is not None:
        if asked not in columns:
            raise unknown("column", asked, columns)
        return asked, f"items in column '{asked}'"
    if not candidates:
        raise UserError(
            f"{file} has the columns {', '.join(columns)}, none of them with pictures; "
            "expected a column of picture bytes or of paths, or name it with --image-column"
        )
    chosen = "image" if "image" in candidates else candidates[0]
    others = [name for name in candidates if name != chosen]
    return chosen, f"items in column '{chosen}'" + (f" (also possible: {', '.join(others)})" if others else "")


class CsvSource(Source):
    """A csv or tsv file, plain or gzipped, with a column of paths relative to it."""

    def __init__(self, path: Path, modality: str | None, image_column: str | None) -> None:
        self._path = path
        try:
            with _open_text(path) as file:
                rows = csv.DictReader(file, delimiter="\t" if ".tsv" in path.suffixes else ",")
                names = [name for name in rows.fieldnames or () if name]
                first = next(rows, None)
                if first is None:
                    raise UserError(f"{path} has no rows under its header")
                candidates = [name for name in names if of_suffix(first[name] or "")]
                self._column, words = choose_column(candidates, names, image_column, str(path))
                self._cells = [first[self._column] or ""]
                columns = {name: Column() for name in names if name != self._column}
                self._take(first, columns)
                for row in rows:
                    self._cells.append(row[self._column] or "")
                    self._take(row, columns)
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} is not a readable csv file ({error}); expected UTF-8 text") from None
        self.modality = modality or of_suffix(self._cells[0]) or "image"
        self.columns = {name: values for name, column in columns.items() if (values := column.offered()) is not None}
        self.description = _describe(path, len(self._cells), words, self.columns)

    @staticmethod
    def _take(row: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        for name, column in columns.items():
            column.add(row[name])

    def __len__(self) -> int:
        return len(self._cells)

    def read(self, index: int) -> Any:
        return read_cell(self._cells[index], self.modality, self._path.parent, self.item_name(index))

    def item_name(self, index: int) -> str:
        return self._cells[index] or f"{self._path.name} row {index}"


class ParquetSource(Source):
    """A parquet file with a column of items, streamed: near-sequential reading is fast, random reading is not."""

    def __init__(self, path: Path, modality: str | None, image_column: str | None) -> None:
        try:
            import pyarrow as arrow
        except ImportError:
            raise needs_extra("pyarrow", "arrow", f"reading {path}") from None
        try:
            self._file = _open_parquet(path)
            first = next(self._file.iter_batches(batch_size=1)).to_pylist()[0]
        except StopIteration:
            raise UserError(f"{path} has no rows") from None
        except (OSError, arrow.ArrowException) as error:
            raise UserError(f"{path} is not a readable parquet file ({error}); fetch it again") from None
        self._path, self._threads = path, threading.local()
        schema = self._file.schema_arrow
        candidates = [field.name for field in schema if _holds_items(field.type, first[field.name])]
        self._column, words = choose_column(candidates, schema.names, image_column, str(path))
        cell = first[self._column]
        name = cell if isinstance(cell, str) else (cell.get("path") or "") if isinstance(cell, Mapping) else ""
        self.modality = modality or of_suffix(name) or "image"
        simple = [
            field.name
            for field in schema
            if field.name != self._column and _is_class_like(field.type) and field.name not in candidates
        ]
        columns = {name: self._values(name) for name in simple}
        self.columns = offered(columns)
        self.description = _describe(path, len(self), words, self.columns)

    def _values(self, name: str) -> Iterator[object]:
        for batch in self._file.iter_batches(batch_size=1024, columns=[name]):
            yield from batch.column(0).to_pylist()

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def read(self, index: int) -> Any:
        # Each thread reads its own stretches forwards; one cursor for all would be sent back and forth.
        if not hasattr(self._threads, "cursor"):
            self._threads.cursor = _Cursor(self._path, self._column)
        return read_cell(self._threads.cursor.cell(index), self.modality, self._path.parent, self.item_name(index))

    def item_name(self, index: int) -> str:
        return f"{self._path.name} row {index}"


class _Cursor:
    """A place in one column of a parquet file, that moves forwards cheaply and starts a row group again otherwise."""

    def __init__(self, path: Path, column: str) -> None:
        self._path, self._column = path, column
        self._file = _open_parquet(path)
        groups = [self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups)]
        self._starts = [0, *accumulate(groups)]
        self._group, self._start = -1, 0
        self._cells: list[Any] = []
        self._blocks: Iterator[Any] = iter(())

    def cell(self, index: int) -> Any:
        """The cell of a row. Raises UserError where the file is damaged there."""
        try:
            group = bisect_right(self._starts, index) - 1
            if group != self._group or index < self._start:
                self._blocks = self._file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=[self._column])
                self._group, self._start, self._cells = group, self._starts[group], []
            while index >= self._start + len(self._cells):
                self._start += len(self._cells)
                self._cells = next(self._blocks).column(0).to_pylist()
        except (OSError, ValueError, NotImplementedError, StopIteration) as error:
            self._group = -1
            raise UserError(f"{self._path} is damaged near row {index} ({error}); fetch it again") from None
        return self._cells[index - self._start]


def _open_parquet(path: Path) -> Any:
    """Buffered and not read ahead, so that a large row group is never in memory as a whole."""
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)


def _holds_items(kind: Any, value: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return {field.name for field in kind} >= {"bytes", "path"}
    if types.is_binary(kind) or types.is_large_binary(kind):
        return True
    return isinstance(value, str) and of_suffix(value) is not None


def _is_class_like(kind: Any) -> bool:
    import pyarrow.types as types

    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean, types.is_dictionary)
    return any(test(kind) for test in tests)


def _describe(path: Path, count: int, words: str, columns: Mapping[str, Sequence[str]]) -> str:
    offers = f", columns {', '.join(columns)}" if columns else ""
    return f"{path.name}: {count} rows, {words}{offers}"


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
