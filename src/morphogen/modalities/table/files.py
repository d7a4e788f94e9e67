"""Tables from csv and parquet files, and back with the delimiter, header and missing mark that they had."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from morphogen.core.config import replacing
from morphogen.core.errors import BadItem, UserError, needs_extra

_MARKS = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "#N/A", "?", "-")
_BOOLEANS = {"lower": ("true", "false"), "title": ("True", "False"), "upper": ("TRUE", "FALSE")}
_DELIMITERS = ",;\t|"
_HEAD = 1 << 16  # bytes that a file's form is inferred from
_FORM = b"morphogen"  # the key of the form in a schema's metadata


@dataclass(frozen=True)
class Form:
    """The container of a table, and how its csv file is written."""

    container: str = "arrow"  # arrow, pandas, polars, csv or parquet
    delimiter: str = ","
    space: str = ""  # after each delimiter
    header: bool = True
    missing: str = ""
    booleans: str = "lower"


def form_of(table: Any) -> Form:
    """Return the form in a table's schema; where there is none, that of an Arrow table."""
    form = (table.schema.metadata or {}).get(_FORM)
    return Form(**json.loads(form)) if form else Form()


def with_form(table: Any, form: Form) -> Any:
    """Return the same table with its form in the schema."""
    metadata = {**(table.schema.metadata or {}), _FORM: json.dumps(asdict(form)).encode()}
    return table.replace_schema_metadata(metadata)


def read(source: Path | str) -> Any:
    """Return the Arrow table in a csv or parquet file, which may be gzipped.

    Raises BadItem naming the file and the row.
    """
    path = Path(source)
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise needs_extra("pyarrow", "table", f"reading {path}") from None
    try:
        if ".parquet" in path.suffixes:
            return _checked(with_form(parquet.read_table(path), Form("parquet")), str(path))
        return _checked(_read_csv(path), str(path))
    except FileNotFoundError:
        raise BadItem(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error, arrow.ArrowException) as error:
        raise BadItem(f"{path} cannot be read as a table: {str(error).splitlines()[0]}; correct it") from None


def is_frame(value: Any) -> bool:
    """Return whether the value is a data frame of pandas or polars, or an Arrow table; imports none of them."""
    package, name = type(value).__module__.partition(".")[0], type(value).__name__
    return (package, name) in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table"))


def from_frame(frame: Any) -> Any:
    """Return the Arrow table of a pandas or polars data frame or of an Arrow table.

    Raises BadItem on anything else.
    """
    if not is_frame(frame):
        raise BadItem(
            f"a {type(frame).__name__} is no table; expected a data frame of pandas or polars, or an Arrow table"
        )
    import pyarrow as arrow

    package = type(frame).__module__.partition(".")[0]
    try:
        if package == "pandas":
            frame = with_form(arrow.Table.from_pandas(frame, preserve_index=False), Form("pandas"))
        elif package == "polars":
            frame = with_form(frame.to_arrow(), Form("polars"))
        return _checked(with_form(frame, form_of(frame)), "the data frame")
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise BadItem(f"the data frame cannot be read: {str(error).splitlines()[0]}") from None


def as_table(items: Any) -> Any:
    """Return an Arrow table as it is, which may have no rows, and a data frame as an Arrow table."""
    return items if hasattr(items, "combine_chunks") else from_frame(items)


def _checked(table: Any, name: str) -> Any:
    """Return the table. Raises BadItem where it has no rows, no columns, or two columns of one name."""
    if not table.num_columns or not table.num_rows:
        raise BadItem(f"{name} has {table.num_rows} rows and {table.num_columns} columns; expected some of both")
    _check_names(table.column_names, name)
    return table


def _check_names(names: Sequence[str], where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise BadItem(f"{where} has the column '{name}' {count} times; give each a name of its own")


def to_input_type(table: Any) -> Any:
    """Return the table as a data frame of pandas or polars where it came as one, else as it is."""
    container = form_of(table).container
    if container == "pandas":
        return table.to_pandas()
    if container == "polars":
        import polars

        return polars.from_arrow(table)
    return table


def write(tables: Iterable[Any], folder: Path) -> list[Path]:
    """Write tables, one after the other, to one file of the form that the first has; it is written whole or not at all.

    Raises UserError where there is no table, or the disk refuses.
    """
    parts = iter(tables)
    first = next(parts, None)
    if first is None:
        raise UserError("there are no rows to write")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("rows.csv" if form_of(first).container == "csv" else "rows.parquet")
    write_file(path, chain([first], parts))
    return [path]


def write_file(path: Path, tables: Iterable[Any]) -> None:
    """Write tables, one after the other, to a csv or parquet file, whole or not at all."""
    parts = iter(tables)
    first = next(parts)
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, first, parts)
        else:
            _write_csv(temporary, first, parts, zipped=path.suffix.lower() == ".gz")


def _write_parquet(path: Path, first: Any, rest: Iterator[Any]) -> None:
    import pyarrow.parquet as parquet

    with parquet.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in chain([first], rest):
            writer.write_table(table)


def _write_csv(path: Path, first: Any, rest: Iterator[Any], zipped: bool) -> None:
    form = form_of(first)
    with path.open("wb") as raw, gzip.open(raw, "wb") if zipped else raw as file:
        for number, table in enumerate(chain([first], rest)):
            _write_rows(file, table, form, header=form.header and not number)


def _write_rows(file: Any, table: Any, form: Form, header: bool) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=form.delimiter, lineterminator="\n")
    rows = zip(*(_texts(column, form) for column in table.columns), strict=True)
    lines = rows if not form.space else ([row[0], *(form.space + cell for cell in row[1:])] for row in rows)
    if header:
        names = table.column_names
        writer.writerow([names[0], *(form.space + name for name in names[1:])])
    writer.writerows(lines)
    file.write(text.getvalue().encode())


def _texts(column: Any, form: Form) -> list[str]:
    """Return cells as text; a float always has a point, or it would be read as a whole number."""
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    texts = compute.cast(column, arrow.string())
    if types.is_boolean(column.type):
        true, false = _BOOLEANS[form.booleans]
        texts = compute.if_else(column, true, false)
    elif types.is_floating(column.type):
        texts = compute.replace_substring_regex(texts, r"^(-?\d+)$", r"\1.0")
    return list(compute.fill_null(texts, form.missing).to_pylist())


def _read_csv(path: Path) -> Any:
    """Return the table in a csv file by Arrow's own reader, once the form is known."""
    import pyarrow as arrow
    import pyarrow.csv as arrow_csv

    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        head = file.read(_HEAD)
    form, names, skipped = _infer_form(head, path)
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)  # Arrow would lose an error raised here
        return "error"

    missing = [*_MARKS, *(form.space + mark for mark in _MARKS if form.space)]
    options: Mapping[str, Any] = {
        "read_options": arrow_csv.ReadOptions(column_names=names, skip_rows=skipped + form.header),
        "parse_options": arrow_csv.ParseOptions(
            delimiter=form.delimiter, newlines_in_values=True, invalid_row_handler=note
        ),
        "convert_options": arrow_csv.ConvertOptions(null_values=missing, strings_can_be_null=True),
    }
    try:
        table = arrow_csv.read_csv(path, **options)
    except arrow.ArrowInvalid:
        if not ragged:
            raise
        cells, expected = ragged[0].actual_columns, ragged[0].expected_columns
        raise BadItem(
            f"{path}: the row '{str(ragged[0].text)[:60]}' has {cells} cells, and the others {expected}; correct it"
        ) from None
    return with_form(_without_spaces(table, form), form)


def _without_spaces(table: Any, form: Form) -> Any:
    """Return the table with strings that do not begin with the space after delimiters."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    if not form.space:
        return table
    for number, name in enumerate(table.column_names):
        if types.is_string(table.schema.types[number]):
            table = table.set_column(number, name, compute.utf8_ltrim_whitespace(table.column(number)))
    return table


def _infer_form(head: bytes, path: Path) -> tuple[Form, list[str], int]:
    """Return the form of a csv file, the names of its columns, and the number of lines before them."""
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError as error:
        raise BadItem(f"{path} is not UTF-8 ({error}); save it as UTF-8") from None
    lines = [line for line in text.splitlines() if line.strip()][:50]
    if not lines:
        raise BadItem(f"{path} is empty; expected a table")
    blank = text.splitlines().index(lines[0])
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
    _check_names(names, str(path))
    return Form("csv", delimiter, " " if spaced else "", header, missing, booleans), names, blank + skipped


def _delimiter(lines: list[str]) -> str:
    """Return the delimiter that splits most lines alike; a comma where none does."""

    def score(mark: str) -> tuple[bool, int]:
        counts = [line.count(mark) for line in lines]
        return counts.count(counts[0]) > 0.7 * len(counts) and counts[0] > 0, counts[0]

    best = max(_DELIMITERS, key=score)
    return best if score(best)[1] else ","


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Return whether the first line holds names: no numbers, and, where no cell below is one, none of those cells."""
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
