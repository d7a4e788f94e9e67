"""Rows with a column of items: parquet, csv and jsonl files."""

from __future__ import annotations

import csv
import gzip
import json
import threading
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, TextIO

from morphogen.core.errors import BadItem, UserError, needs_extra, unknown

from .base import Column, Source, of_suffix, offered, readers
from .documents import Texts, named_by_text, text_name

_ROWS = 16  # rows of a parquet file held at a time
HEAD = 100  # rows by which columns are told apart
_LONG = 40  # characters of a string, on average, from which on a column is taken for texts
_PATH = 255  # characters of a path
_FIELD = 2**31 - 1  # characters of a csv cell; by itself the module stops at 131,072


def read_cell(cell: Any, modality: str, folder: Path, name: str, literal: bool = False) -> Any:
    """The item in a cell: bytes, a struct of bytes and path, or a path relative to `folder`. Raises BadItem.

    A `literal` cell is a text itself.
    """
    if literal:
        return readers()[modality].checked(cell or "", name)
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, str) and cell:
        return readers()[modality].read(folder / cell)
    if isinstance(cell, bytes) and cell:
        return readers()[modality].read(cell, name)
    raise BadItem(f"{name} has an empty cell; remove the row")


class NoItems(UserError):
    """Rows without a column of items: perhaps they are items themselves."""


@dataclass(frozen=True)
class Chosen:
    """The column of items, and how to say it; `literal`: its cells are the texts themselves."""

    column: str
    modality: str
    words: str
    literal: bool


def choose_column(
    media: Mapping[str, str],
    texts: Mapping[str, float],
    columns: Sequence[str],
    asked: str | None,
    modality: str | None,
    file: str,
) -> Chosen:
    """The column of items. Raises UserError where there is none, or not the one asked for.

    `media` holds the columns of bytes and of paths, each with its modality or ""; `texts` those of strings, each with
    how long they are. Long ones are items where there are no others.
    """
    if asked is not None and asked not in columns:
        raise unknown("column", asked, columns)
    own = [name for name, kind in media.items() if kind and modality in (None, kind)]
    strings = [name for name in sorted(texts, key=lambda name: -texts[name]) if name not in media]
    long = [name for name in strings if modality == "text" or name == "text" or texts[name] >= _LONG]
    other = list(media)
    if modality not in (None, "text"):
        long = []
    # Texts in cells are looked for before bytes of unknown kind only if texts are asked for.
    candidates = own or long or other if modality == "text" else other or long
    if asked is None and not candidates:
        raise NoItems(
            f"{file} has the columns {', '.join(columns)}, none of them with pictures or long texts; expected a column "
            "of picture bytes, of paths or of texts, or name it with --column"
        )
    preferred = next((name for name in ("image", "text") if name in candidates), candidates[0] if candidates else "")
    column = preferred if asked is None else asked
    literal = column in strings and modality in (None, "text")
    kind = modality or media.get(column) or ("text" if literal else "image")
    words = f"{'texts' if literal else 'items'} in column '{column}'"
    others = [name for name in candidates if name != column]
    if asked is None and others:
        words += f" (also possible: {', '.join(others)})"
    return Chosen(column, kind, words, literal)


def path_kind(value: object, folder: Path) -> str | None:
    """The modality of the file that a cell names, if it looks like one; of a text, only where there is such a file."""
    if not isinstance(value, str) or len(value) > _PATH or "\n" in value:
        return None
    kind = of_suffix(value)
    return kind if kind != "text" or (folder / value).is_file() else None


def mean_lengths(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How long the strings of each column are that holds little else, besides what is empty."""
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        cells = [row.get(name) for row in rows]
        filled = [cell for cell in cells if cell is not None]
        lengths = [len(cell) for cell in filled if isinstance(cell, str)]
        if filled and len(lengths) >= 0.9 * len(filled):
            found[name] = sum(lengths) / len(lengths)
    return found


class CellSource(Source):
    """Rows read as a whole, of which the cells with items are kept: texts, or paths relative to the file."""

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        head: Sequence[Mapping[str, Any]],
        rows: Iterable[Mapping[str, Any] | str],
        modality: str | None,
        column: str | None,
    ) -> None:
        """`head` are the first rows, by which the column of items is chosen, and `rows` all: a str is a broken one."""
        media = {name: kind for name in names for row in head[:1] if (kind := path_kind(row.get(name), path.parent))}
        chosen = choose_column(media, mean_lengths(head), names, column, modality, str(path))
        self._path, self._literal, self.modality = path, chosen.literal, chosen.modality
        self._cells: list[str] = []
        self._texts = Texts()
        columns = {name: Column() for name in names if name != chosen.column}
        for row in rows:
            cell = None if isinstance(row, str) else row.get(chosen.column)
            if not self._literal:
                self._cells.append(cell if isinstance(cell, str) else "")
            elif isinstance(row, str):
                self._texts.refuse(row)
            elif cell is None or isinstance(cell, str):
                self._texts.add(cell or "", self._row(len(self._texts)))
            else:
                self._texts.refuse(f"{self._row(len(self._texts))} holds {cell!r:.40}, which is no text; remove it")
            for name, values in columns.items():
                values.add(None if isinstance(row, str) else row.get(name))
        self.columns = {name: found for name, values in columns.items() if (found := values.offered()) is not None}
        self.description = _describe(path, len(self), chosen.words, self.columns)

    def __len__(self) -> int:
        return len(self._texts) if self._literal else len(self._cells)

    def read(self, index: int) -> Any:
        if self._literal:
            return self._texts[index]
        return read_cell(self._cells[index], self.modality, self._path.parent, self.item_name(index))

    def item_name(self, index: int) -> str:
        if self._literal:
            return self._row(index) if index in self._texts.bad else text_name(self._texts[index])
        return self._cells[index] or self._row(index)

    def _row(self, index: int) -> str:
        return f"{self._path.name} row {index}"


def open_csv(path: Path, modality: str | None, column: str | None) -> CellSource:
    """A csv or tsv file, plain or gzipped, with a column of texts, or of paths relative to it."""
    csv.field_size_limit(_FIELD)
    try:
        with _open_text(path) as file:
            rows = csv.DictReader(file, delimiter="\t" if ".tsv" in path.suffixes else ",")
            names = [name for name in rows.fieldnames or () if name]
            head = list(islice(rows, HEAD))
            if not head:
                raise UserError(f"{path} has no rows under its header")
            return CellSource(path, names, head, chain(head, rows), modality, column)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a readable csv file ({error}); expected UTF-8 text") from None


def open_jsonl(path: Path, modality: str | None, column: str | None) -> CellSource:
    """A file of one JSON object a line, plain or gzipped, with a field of texts, or of paths relative to it.

    A broken line is a bad item. Raises UserError where no line is an object.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            rows = _objects(file, path.name)
            head = list(islice(rows, HEAD))
            good = [row for row in head if not isinstance(row, str)]
            if not good:
                raise UserError(f"{path} has no readable row: {head[0]}" if head else f"{path} is empty")
            simple = (str, int, bool, type(None))
            names = list(dict.fromkeys(name for row in good for name in row))
            names = [name for name in names if all(isinstance(row.get(name), simple) for row in good)]
            return CellSource(path, names, good, chain(head, rows), modality, column)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again") from None


def _objects(file: Iterable[bytes], name: str) -> Iterator[Mapping[str, Any] | str]:
    """The objects of the lines that are not blank, or what is wrong with a line."""
    for number, line in enumerate(file, start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            yield f"{name} line {number} is not JSON ({error}); mend or remove it"
            continue
        yield row if isinstance(row, dict) else f"{name} line {number} is no JSON object; mend or remove it"


class ParquetSource(Source):
    """A parquet file with a column of items, streamed: near-sequential reading is fast, random reading is not."""

    def __init__(self, path: Path, modality: str | None, column: str | None) -> None:
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
        media = {
            field.name: _kind(first[field.name], path.parent)
            for field in schema
            if _holds_items(field.type, first[field.name], path.parent)
        }
        strings = [field.name for field in schema if _is_string(field.type)]
        head = next(self._file.iter_batches(batch_size=HEAD, columns=strings)).to_pylist()
        chosen = choose_column(media, mean_lengths(head), schema.names, column, modality, str(path))
        self._column, self._literal, self.modality = chosen.column, chosen.literal, chosen.modality
        simple = [
            field.name
            for field in schema
            if field.name != self._column and _is_class_like(field.type) and field.name not in media
        ]
        columns = {name: self._values(name) for name in simple}
        self.columns = offered(columns)
        self.description = _describe(path, len(self), chosen.words, self.columns)

    def _values(self, name: str) -> Iterator[object]:
        for batch in self._file.iter_batches(batch_size=1024, columns=[name]):
            yield from batch.column(0).to_pylist()

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def read(self, index: int) -> Any:
        # Each thread reads its own stretches forwards; one cursor for all would be sent back and forth.
        if not hasattr(self._threads, "cursor"):
            self._threads.cursor = _Cursor(self._path, self._column)
        cell = self._threads.cursor.cell(index)
        return read_cell(cell, self.modality, self._path.parent, self._row(index), self._literal)

    def item_name(self, index: int) -> str:
        return named_by_text(self, index, self._row(index)) if self._literal else self._row(index)

    def _row(self, index: int) -> str:
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


def _kind(value: Any, folder: Path) -> str:
    """The modality that a cell's path tells of, or ""."""
    return path_kind(value.get("path") if isinstance(value, Mapping) else value, folder) or ""


def _holds_items(kind: Any, value: Any, folder: Path) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return {field.name for field in kind} >= {"bytes", "path"}
    if types.is_binary(kind) or types.is_large_binary(kind):
        return True
    return path_kind(value, folder) is not None


def _is_string(kind: Any) -> bool:
    import pyarrow.types as types

    return any(test(kind) for test in (types.is_string, types.is_large_string))


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
