"""Csv files: read as text, column by column in its format, and written back in the dialect that they had."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from morphogen.core.config import replacing
from morphogen.core.encodings import ENCODINGS, open_bytes, text_encoding
from morphogen.core.errors import BadItem
from morphogen.core.log import say

from .column import ColumnFormat
from .dialect import Dialect, infer_dialect
from .form import Form, form_of, with_form
from .registry import infer_text
from .words import BooleanFormat, TextFormat

_HEAD = 1 << 16  # bytes that the dialect is inferred from
_BLOCK = 1 << 22  # bytes read at a time to reach the end
_SEMICOLON = ";"  # where commas divide no cells, one is likelier a decimal mark


def read_csv(path: Path) -> Any:
    """Return the Arrow table in a csv file, which may be gzipped. Raises BadItem, and what Arrow and the disk raise."""
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.csv as arrow_csv

    encoding = text_encoding(path)
    with open_bytes(path) as file:
        head = last = file.read(_HEAD)
        while block := file.read(_BLOCK):
            last = block
    text = head.decode(encoding, errors="ignore")  # the last character may be cut
    last_line_ends = last.endswith("\n".encode(encoding))
    inferred = infer_dialect(text, complete=len(head) < _HEAD, last_line_ends=last_line_ends)
    if inferred is None:
        raise BadItem(f"{path} is empty; expected a table")
    dialect, names, skipped = replace(inferred.dialect, encoding=encoding), inferred.names, inferred.skipped
    check_names(names, str(path))
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)  # Arrow would lose an error raised here
        return "error"

    parsing: Any = {"delimiter": dialect.delimiter, "newlines_in_values": True, "invalid_row_handler": note}
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=names,
                skip_rows=skipped + dialect.header,
                encoding="utf-16" if encoding.startswith("utf-16") else encoding,  # which skips its mark
            ),
            parse_options=arrow_csv.ParseOptions(**parsing),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: arrow.string() for name in names}, strings_can_be_null=False
            ),
        )
    except arrow.ArrowInvalid:
        if not ragged:
            raise
        cells, expected = ragged[0].actual_columns, ragged[0].expected_columns
        raise BadItem(
            f"{path}: the row '{str(ragged[0].text)[:60]}' has {cells} cells, and the others {expected}; correct it"
        ) from None
    columns = [column if not dialect.space else compute.utf8_ltrim(column, " ") for column in table.columns]
    return _typed(names, columns, dialect)


def _typed(names: Sequence[str], columns: Sequence[Any], dialect: Dialect) -> Any:
    """Return the table of columns of text, each read in the format that it has."""
    import pyarrow as arrow
    import pyarrow.compute as compute

    blanks = any(compute.any(compute.equal(column, "")).as_py() for column in columns)
    formats: dict[str, ColumnFormat] = {}
    plain = []
    for name, column in zip(names, columns, strict=True):
        formats[name], values = infer_text(column, blanks=blanks, decimal_comma=dialect.delimiter == _SEMICOLON)
        plain.append(values)
    return with_form(arrow.table(dict(zip(names, plain, strict=True))), Form("csv", dialect, columns=formats))


def check_names(names: Sequence[str], where: str) -> None:
    """Raise BadItem naming a column that there are two of."""
    from collections import Counter

    for name, count in Counter(names).items():
        if count > 1:
            raise BadItem(f"{where} has the column '{name}' {count} times; give each a name of its own")


def write_csv(path: Path, first: Any, rest: Iterator[Any], *, zipped: bool) -> None:
    """Write tables, one after the other, in the dialect of the first.

    Where its encoding lacks a character, the file is UTF-8, and a warning says so.
    """
    dialect = form_of(first).dialect
    _write_utf8(path, first, rest, dialect, zipped=zipped)
    if dialect.encoding != "utf-8":
        _change_encoding(path, dialect.encoding, zipped=zipped)


def _write_utf8(path: Path, first: Any, rest: Iterator[Any], dialect: Dialect, *, zipped: bool) -> None:
    with path.open("wb") as raw, gzip.open(raw, "wb") if zipped else raw as file:
        if dialect.byte_order_mark:
            file.write("\ufeff".encode())
        if dialect.separator_line:
            file.write(f"sep={dialect.delimiter}{dialect.line_end}".encode())
        if dialect.header:
            file.write(_header(first.column_names, dialect).encode())
        line_end = dialect.line_end.encode() if dialect.header else b""
        for table in chain([first], rest):
            if len(table):
                file.write(line_end + dialect.line_end.join(_lines(table, dialect)).encode())
                line_end = dialect.line_end.encode()
        if dialect.last_line_ends:
            file.write(line_end)


def _change_encoding(path: Path, encoding: str, *, zipped: bool) -> None:
    """Write a file of UTF-8 in another encoding, if that has all of its characters."""
    opened: Any = gzip.open if zipped else open
    try:
        with (
            replacing(path) as other,
            opened(path, "rt", encoding="utf-8", newline="") as source,
            opened(other, "wt", encoding=encoding, newline="") as target,
        ):
            while block := source.read(_BLOCK):
                target.write(block)
    except UnicodeEncodeError as error:
        lacking = error.object[error.start]
        say(f"warning: the csv file is written as UTF-8, since {ENCODINGS[encoding]} has no {lacking!r}")


def _header(names: Sequence[str], dialect: Dialect) -> str:
    names = ["" if name in dialect.nameless else name for name in names]
    cells = [_in_quotes(name) if dialect.quoted_header or _needs_quotes(name, dialect) else name for name in names]
    return f"{dialect.delimiter}{dialect.space}".join(cells)


def _lines(table: Any, dialect: Dialect) -> list[str]:
    """Return the lines of the rows."""
    import pyarrow.compute as compute

    form = form_of(table)
    columns = []
    for number, name in enumerate(table.column_names):
        texts, is_missing = cell_texts(table.column(name), form.columns.get(name))
        always = number < len(dialect.quoted) and dialect.quoted[number]
        needed = compute.match_substring_regex(texts, _special(dialect))
        if always:
            present = compute.invert(is_missing)
            needed = compute.or_(needed, True if dialect.quoted_missing else present)
        elif table.num_columns == 1:
            needed = compute.or_(needed, compute.equal(texts, ""))  # a blank line would be no row
        quoted = compute.binary_join_element_wise('"', compute.replace_substring(texts, '"', '""'), '"', "")
        columns.append(compute.if_else(needed, quoted, texts))
    joined = compute.binary_join_element_wise(*columns, f"{dialect.delimiter}{dialect.space}")
    lines: list[str] = joined.to_pylist()
    return lines


def cell_texts(column: Any, column_format: ColumnFormat | None) -> tuple[Any, Any]:
    """Return the cells of a plain column as text, and which are missing.

    Where the column has no format, a float always has a point, or it would be read as a whole number.
    """
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    is_missing = compute.is_null(column)
    if column_format is not None and not column_format.textual:
        column = column_format.write(column)
        column_format = None
    if column_format is None and types.is_boolean(column.type):
        column_format = BooleanFormat()
    if column_format is None:
        column_format = TextFormat()
        floating = types.is_floating(column.type)
        column = cast_to_text(column)
        if floating:
            column = compute.replace_substring_regex(column, r"^(-?\d+)$", r"\1.0")
    texts = column_format.write(column)
    texts = texts if isinstance(texts, arrow.ChunkedArray) else arrow.chunked_array([texts])
    return compute.fill_null(texts, ""), is_missing


def cast_to_text(column: Any) -> Any:
    """Return a column as text; where Arrow has no such cast, in the words of Python."""
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        return compute.cast(column, arrow.string())
    except arrow.ArrowException:
        texts = [None if cell is None else str(cell) for cell in column.to_pylist()]
        return arrow.chunked_array([texts], arrow.string())


def _special(dialect: Dialect) -> str:
    return rf'[{dialect.delimiter}"\r\n]'


def _needs_quotes(cell: str, dialect: Dialect) -> bool:
    return any(mark in cell for mark in (dialect.delimiter, '"', "\r", "\n"))


def _in_quotes(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'
