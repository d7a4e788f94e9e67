"""Records with a column of items: csv and jsonl files."""

from __future__ import annotations

import csv
import gzip
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from morphogen.core.encodings import text_encoding
from morphogen.core.errors import BadItem, UserError, one_line
from morphogen.core.files import guard

from .base import ClassColumn, Source, name_by_content
from .choose_column import HEAD, ItemColumn

_HEAD_SIZE = 1 << 20  # characters by which the delimiter is inferred
_HEAD_ROWS = 50
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # the line by which Excel is told the delimiter
_LARGEST_CELL = 2**31 - 1  # characters of a csv cell; by itself the module stops at 131,072
_DELIMITERS = ",;\t|"

Fields = Mapping[str, Any]  # the values of one record by column


class Head(NamedTuple):
    """The columns that may hold items or classes, and the first records of a file."""

    names: list[str]
    records: list[Fields]

    @property
    def cells(self) -> dict[str, list[Any]]:
        """The first cells of each column."""
        return {name: [record.get(name) for record in self.records] for name in self.names}


class Strings:
    """A compact list of strings, in which a message stands for each string that could not be read."""

    def __init__(self) -> None:
        self._data, self._ends = bytearray(), array("q")
        self._problems: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, text: str) -> None:
        """Append a string."""
        self._data += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._data))

    def refuse(self, problem: str) -> None:
        """Append a string that cannot be read, as a message that says why."""
        self._problems[len(self)] = problem
        self._ends.append(len(self._data))

    def __getitem__(self, index: int) -> str:
        """Return a string. Raises BadItem with the message that was appended in its place."""
        if index in self._problems:
            raise BadItem(self._problems[index])
        start = self._ends[index - 1] if index else 0
        return self._data[start : self._ends[index]].decode("utf-8", "surrogatepass")


class CellSource(Source):
    """The items in one column of a csv or jsonl file, whose cells are held in memory: strings, or relative paths."""

    def __init__(self, path: Path, names: Sequence[str], records: Iterable[Fields | str], column: ItemColumn) -> None:
        """`records` are all of the file; a str is the message for one that cannot be read."""
        self._path, self._reader, self.modality = path, column.reader, column.reader.modality.name
        self._cells = Strings()
        collected = {name: ClassColumn() for name in names if name != column.name}
        for record in records:
            if isinstance(record, str):
                self._cells.refuse(record)
            else:
                self._add(record.get(column.name))
            for name, one in collected.items():
                one.add(None if isinstance(record, str) else record.get(name))
        self.columns = {name: values for name, one in collected.items() if (values := one.values()) is not None}
        self.description = describe(path, len(self), column.words, self.columns)

    def _add(self, cell: Any) -> None:
        if cell is None or isinstance(cell, str):
            self._cells.add(cell or "")
        else:
            self._cells.refuse(f"{self._row(len(self))} holds {cell!r:.40}; expected a string")

    def __len__(self) -> int:
        return len(self._cells)

    def read(self, index: int) -> Any:
        return self._reader.read(self._cells[index], self._row(index))

    def item_name(self, index: int) -> str:
        if not self._reader.as_paths:
            return name_by_content(self, index, self._row(index))
        try:
            return self._cells[index] or self._row(index)
        except BadItem:
            return self._row(index)

    def _row(self, index: int) -> str:
        return f"{self._path.name} row {index}"


def csv_head(path: Path) -> Head:
    """Return the columns and first records of a csv or tsv file. Raises UserError if it is unreadable or empty."""
    records = list(islice(_csv_records(path), HEAD))
    if not records:
        raise UserError(f"{path} has no rows under its header")
    return Head([name for name in records[0] if name], records)


def open_csv(path: Path, column: ItemColumn) -> CellSource:
    """Return the items in a column of a csv or tsv file, plain or gzipped: strings, or paths relative to it."""
    return CellSource(path, csv_head(path).names, _csv_records(path), column)


def _csv_records(path: Path) -> Iterator[Fields]:
    csv.field_size_limit(_LARGEST_CELL)
    with guard(path, "is not a readable csv file", "expected a table as text"), _open_text(path) as file:
        head = file.read(_HEAD_SIZE)
        separator = _SEPARATOR.fullmatch(head.partition("\n")[0])
        file.seek(0)
        if separator:
            file.readline()
        yield from csv.DictReader(file, delimiter=separator[1] if separator else _delimiter(head))


def _delimiter(head: str) -> str:
    """Return what divides most rows into as many cells as the header; of two such, what makes more cells."""

    def score(mark: str) -> tuple[float, int]:
        rows = [row for row in islice(csv.reader(head.splitlines(keepends=True), delimiter=mark), _HEAD_ROWS) if row]
        cells = len(rows[0]) if rows else 1
        return (sum(len(row) == cells for row in rows) / len(rows), cells) if cells > 1 else (0.0, 1)

    return max(_DELIMITERS, key=score)


def jsonl_head(path: Path) -> Head:
    """Return the columns and first records of a jsonl file. Raises UserError where no line is an object."""
    lines = list(islice(_jsonl_records(path), HEAD))
    records = [one for one in lines if not isinstance(one, str)]
    if not records:
        raise UserError(f"{path} has no readable row: {lines[0]}" if lines else f"{path} is empty")
    simple = (str, int, bool, type(None))
    names = list(dict.fromkeys(name for record in records for name in record))
    return Head([name for name in names if all(isinstance(one.get(name), simple) for one in records)], records)


def open_jsonl(path: Path, column: ItemColumn) -> CellSource:
    """Return the items in a field of a jsonl file, plain or gzipped: one object a line; a broken line is a bad item."""
    return CellSource(path, jsonl_head(path).names, _jsonl_records(path), column)


def _jsonl_records(path: Path) -> Iterator[Fields | str]:
    """Yield the object in each line that is not blank, or a message that says why there is none."""
    with (
        guard(path, "cannot be read", "fetch it again"),
        gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file,
    ):
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                yield f"{path.name} line {number} is not JSON ({one_line(error)}); mend or remove it"
                continue
            if isinstance(record, dict):
                yield record
            else:
                yield f"{path.name} line {number} is no JSON object; mend or remove it"


def describe(path: Path, count: int, words: str, columns: Mapping[str, Sequence[str]]) -> str:
    """Return how a file of records was read, in plain words."""
    classes = f", columns {', '.join(columns)}" if columns else ""
    return f"{path.name}: {count} rows, {words}{classes}"


def _open_text(path: Path) -> TextIO:
    """Open a text file, plain or gzipped, in its encoding, after a byte order mark."""
    encoding = text_encoding(path)
    if encoding.startswith("utf"):
        encoding = "utf-8-sig" if encoding == "utf-8" else "utf-16"  # which skip the mark
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")
