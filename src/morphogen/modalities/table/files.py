"""Files of tables: csv and parquet in, and the same out, with the delimiter, header and missing mark they had."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from morphogen.core.config import replacing
from morphogen.core.errors import BadItem, UserError, needs_extra

ITEM = tuple  # what a raw item is: a row; many of them are an Arrow table
SUFFIXES: frozenset[str] = frozenset()  # one file holds many items

_MARKS = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "#N/A", "?", "-")
_BOOLEANS = {"lower": ("true", "false"), "title": ("True", "False"), "upper": ("TRUE", "FALSE")}
_DELIMITERS = ",;\t|"
_HEAD = 1 << 16  # bytes that tell of a file's form
_FORM = b"morphogen"  # of the schema's metadata: how the table was given


@dataclass(frozen=True)
class Form:
    """How a table was given, and is given back."""

    container: str = "arrow"  # arrow, pandas, polars, csv or parquet
    delimiter: str = ","
    space: str = ""  # after each delimiter
    header: bool = True
    missing: str = ""
    booleans: str = "lower"


def form_of(table: Any) -> Form:
    """The form that a table's schema tells of."""
    held = (table.schema.metadata or {}).get(_FORM)
    return Form(**json.loads(held)) if held else Form()


def formed(table: Any, form: Form) -> Any:
    """The same table, with its form in the schema."""
    metadata = {**(table.schema.metadata or {}), _FORM: json.dumps(asdict(form)).encode()}
    return table.replace_schema_metadata(metadata)


def read(source: Path | str, name: str | None = None) -> Any:
    """The Arrow table in a csv or parquet file, which may be gzipped. Raises BadItem naming the file and the row."""
    path = Path(source)
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise needs_extra("pyarrow", "table", f"reading {path}") from None
    try:
        if ".parquet" in path.suffixes:
            return checked(formed(parquet.read_table(path), Form("parquet")), str(path))
        return checked(_read_csv(path), str(path))
    except FileNotFoundError:
        raise BadItem(f"{path} does not exist") from None
    except (OSError, EOFError, arrow.ArrowException) as error:
        raise BadItem(f"{path} cannot be read as a table: {str(error).splitlines()[0]}; mend it") from None


def checked(table: Any, name: str) -> Any:
    """The table. Raises BadItem where it has no rows, no columns, or two columns of one name."""
    if not table.num_columns or not table.num_rows:
        raise BadItem(f"{name} has {table.num_rows} rows and {table.num_columns} columns; expected some of both")
    names = table.column_names
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice:
        raise BadItem(f"{name} has the column '{twice[0]}' {names.count(twice[0])} times; give each a name of its own")
    return table


def from_frame(frame: Any) -> Any:
    """The Arrow table of a pandas or polars data frame, or of itself. Raises BadItem on anything else."""
    import pyarrow as arrow

    if isinstance(frame, arrow.Table):
        return checked(formed(frame, Form("arrow")), "the table")
    module = type(frame).__module__.partition(".")[0]
    try:
        if module == "pandas":
            return checked(
                formed(arrow.Table.from_pandas(frame, preserve_index=False), Form("pandas")), "the data frame"
            )
        if module == "polars":
            return checked(formed(frame.to_arrow(), Form("polars")), "the data frame")
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise BadItem(f"the data frame cannot be read: {str(error).splitlines()[0]}") from None
    raise BadItem(f"a {type(frame).__name__} is no table; expected one of pandas, polars or Arrow")


def given_back(table: Any) -> Any:
    """The table in the container that it was given in; of a file, an Arrow table."""
    container = form_of(table).container
    if container == "pandas":
        return table.to_pandas()
    if container == "polars":
        import polars

        return polars.from_arrow(table)
    return table


def from_array(array: Any) -> Any:
    """Raises BadItem: no array is a table."""
    raise BadItem(f"a {type(array).__name__} is no table; expected a data frame, whose columns have names")


def write(tables: Iterable[Any], folder: Path, start: int = 0) -> list[Path]:
    """Write all tables to one file of the form that the first has, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    found = iter(tables)
    first = next(found)
    form = form_of(first)
    suffix = "parquet" if form.container in ("parquet", "arrow", "pandas", "polars") else "csv"
    path = folder / f"rows.{suffix}"
    write_to(path, _chain(first, found))
    return [path]


def write_to(path: Path, tables: Iterable[Any]) -> None:
    """Write all tables, one after the other, to a csv or parquet file. Raises UserError on another suffix."""
    found = iter(tables)
    first = next(found)
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, first, found)
        elif path.name.endswith((".csv", ".csv.gz", ".tsv", ".data", ".data.gz", ".txt")):
            _write_csv(temporary, first, found, zipped=path.suffix == ".gz")
        else:
            raise UserError(f"--out {path} is no file of a table; expected .csv, .csv.gz, .tsv or .parquet")


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _write_parquet(path: Path, first: Any, rest: Iterator[Any]) -> None:
    import pyarrow.parquet as parquet

    with parquet.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in _chain(first, rest):
            writer.write_table(table)


def _write_csv(path: Path, first: Any, rest: Iterator[Any], zipped: bool) -> None:
    form = form_of(first)
    with path.open("wb") as raw, gzip.open(raw, "wb") if zipped else raw as file:
        for number, table in enumerate(_chain(first, rest)):
            _write_rows(file, table, form, header=form.header and not number)


def _write_rows(file: Any, table: Any, form: Form, header: bool) -> None:
    held = io.StringIO()
    writer = csv.writer(held, delimiter=form.delimiter, lineterminator="\n")
    rows = zip(*(_texts(column, form) for column in table.columns), strict=True)
    lines = rows if not form.space else ([row[0], *(form.space + cell for cell in row[1:])] for row in rows)
    if header:
        names = table.column_names
        writer.writerow([names[0], *(form.space + name for name in names[1:])])
    writer.writerows(lines)
    file.write(held.getvalue().encode())


def _texts(column: Any, form: Form) -> list[str]:
    """Cells as they are written; a float is told from a whole number, or it would be read as one."""
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    found = compute.cast(column, arrow.string())
    if types.is_boolean(column.type):
        true, false = _BOOLEANS[form.booleans]
        found = compute.if_else(column, true, false)
    elif types.is_floating(column.type):
        found = compute.replace_substring_regex(found, r"^(-?\d+)$", r"\1.0")
    return list(compute.fill_null(found, form.missing).to_pylist())


def _read_csv(path: Path) -> Any:
    """By Arrow's own reader, once the form is known."""
    import pyarrow as arrow
    import pyarrow.csv as arrow_csv

    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.strip():
        raise BadItem(f"{path} is empty")
    form, names, skipped = _form(head, path)
    rows_before = skipped + form.header
    ragged: list[Any] = []

    def noted(row: Any) -> str:
        ragged.append(row)  # what were raised here would be lost
        return "error"

    options: Mapping[str, Any] = {
        "read_options": arrow_csv.ReadOptions(column_names=names, skip_rows=rows_before),
        "parse_options": arrow_csv.ParseOptions(
            delimiter=form.delimiter,
            newlines_in_values=True,
            invalid_row_handler=noted,
        ),
        "convert_options": arrow_csv.ConvertOptions(
            null_values=[form.space + mark for mark in _MARKS] + list(_MARKS) if form.space else list(_MARKS),
            strings_can_be_null=True,
        ),
    }
    try:
        table = arrow_csv.read_csv(path, **options)
    except arrow.ArrowInvalid:
        if not ragged:
            raise
        cells, expected = ragged[0].actual_columns, ragged[0].expected_columns
        raise BadItem(
            f"{path}: the row '{str(ragged[0].text)[:60]}' has {cells} cells, and the others {expected}; mend it"
        ) from None
    return formed(_tidied(table, form), form)


def _tidied(table: Any, form: Form) -> Any:
    """Strings without the space after delimiters, and whole numbers that hold nothing else but are floats as such."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    if not form.space:
        return table
    for number, name in enumerate(table.column_names):
        if types.is_string(table.schema.types[number]):
            table = table.set_column(number, name, compute.utf8_ltrim_whitespace(table.column(number)))
    return table


def _form(head: bytes, path: Path) -> tuple[Form, list[str], int]:
    """The form of a csv file, the names of its columns, and lines before them."""
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError as error:
        raise BadItem(f"{path} is not UTF-8 ({error}); save it as UTF-8") from None
    lines = [line for line in text.splitlines() if line.strip()][:50]
    if len(lines) > 2 and len(head) == _HEAD:
        lines = lines[:-1]
    skipped = 1 if lines and lines[0].startswith("|") and len(lines) > 1 else 0  # a remark, as in UCI's test files
    lines = lines[skipped:]
    delimiter = _delimiter(lines)
    rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    first, rest = rows[0], rows[1:]
    header = _is_header(first, rest)
    spaced = delimiter != "\t" and len(first) > 1 and all(f"{delimiter} " in line for line in lines[header:] or lines)
    missing = next((mark for mark in ("?", "NA", "NaN", "NULL", "null") if any(mark in row for row in rest)), "")
    words = {cell.strip() for row in rest for cell in row}
    booleans = next((style for style, pair in _BOOLEANS.items() if words & set(pair)), "lower")
    names = [cell.strip() if header else "" for cell in first]
    names = [name or f"c{number}" for number, name in enumerate(names, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadItem(f"{path} has the column '{twice[0]}' {names.count(twice[0])} times; give each a name of its own")
    return Form("csv", delimiter, " " if spaced else "", header, missing, booleans), names, skipped


def _delimiter(lines: list[str]) -> str:
    """What most evenly parts the lines; a comma where nothing does."""

    def score(mark: str) -> tuple[bool, int]:
        counts = [line.count(mark) for line in lines]
        return counts.count(counts[0]) > 0.7 * len(counts) and counts[0] > 0, counts[0]

    best = max(_DELIMITERS, key=score)
    return best if score(best)[1] else ","


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Names are no numbers, and no cell below is one of them where the column is not of few values."""
    if any(_is_number(cell) for cell in first):
        return False
    if any(_is_number(cell) for row in rest for cell in row):
        return True
    return not any(cell in {row[number] for row in rest if number < len(row)} for number, cell in enumerate(first))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().lower() not in ("nan", "inf", "infinity")
