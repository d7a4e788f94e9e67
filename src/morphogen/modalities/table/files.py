"""Tables in csv and parquet files and in data frames: read into Arrow tables, and written in the form that they had."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from morphogen.core.config import replacing
from morphogen.core.errors import BadItem, UserError, needs_extra, one_line

from .formats.form import Form, Labels, form_of, with_columns, with_form

_NAMELESS_INDEX = re.compile(r"__index_level_\d+__")

__all__ = [
    "Form",
    "as_table",
    "data_names",
    "form_of",
    "from_frame",
    "is_frame",
    "read",
    "to_input_type",
    "with_columns",
    "with_form",
    "with_rows_of",
    "write",
]


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
    from .formats.csv_file import read_csv
    from .formats.frames import from_arrow

    try:
        if ".parquet" in map(str.lower, path.suffixes):
            return _checked(from_arrow(_without_counter(parquet.read_table(path)), "parquet"), str(path))
        return _checked(read_csv(path), str(path))
    except FileNotFoundError:
        raise BadItem(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error, arrow.ArrowException) as error:
        raise BadItem(f"{path} cannot be read as a table: {one_line(error)}; correct it") from None


def _without_counter(table: Any) -> Any:
    """Return an Arrow table without the columns in which pandas stores an index that has no name."""
    return table.drop_columns([name for name in table.column_names if _NAMELESS_INDEX.fullmatch(name)])


def is_frame(value: Any) -> bool:
    """Return whether the value is a data frame of pandas or polars, or an Arrow table; imports none of them."""
    package, name = type(value).__module__.partition(".")[0], type(value).__name__
    return (package, name) in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table"))


def from_frame(frame: Any) -> Any:
    """Return the Arrow table of a pandas or polars data frame or of an Arrow table.

    Raises BadItem on anything else.
    """
    return _checked(_from_frame(frame, with_index=False), "the data frame")


def as_table(items: Any, *, with_index: bool = False) -> Any:
    """Return a table of this module as it is, and any other table or data frame as one; it may have no rows.

    `with_index`: the index of a data frame of pandas stands in columns behind the others, see `data_names`.
    """
    is_own = hasattr(items, "combine_chunks") and form_of(items) != Form()
    return items if is_own else _from_frame(items, with_index=with_index)


def data_names(table: Any) -> list[str]:
    """Return the columns of a table without those that hold the index of a data frame."""
    index = form_of(table).labels.index
    return [name for name in table.column_names if name not in index]


def with_rows_of(table: Any, like: Any) -> Any:
    """Return a table of other columns in the container of `like`, whose rows, and their index, it has."""
    labels = form_of(like).labels
    dtypes = {name: labels.dtypes[name] for name in labels.index}
    for name in labels.index:
        table = table.append_column(name, like.column(name))
    labels = Labels(index=labels.index, index_names=labels.index_names, dtypes=dtypes)
    return with_form(table, Form(form_of(like).container, labels=labels))


def _from_frame(frame: Any, *, with_index: bool) -> Any:
    if not is_frame(frame):
        raise BadItem(
            f"a {type(frame).__name__} is no table; expected a data frame of pandas or polars, or an Arrow table"
        )
    import pyarrow as arrow

    from .formats.frames import from_arrow, from_polars
    from .formats.pandas_frame import from_pandas

    package = type(frame).__module__.partition(".")[0]
    try:
        if package == "pandas":
            return from_pandas(frame, with_index=with_index)
        _check_names(frame.column_names if package == "pyarrow" else frame.columns, "the data frame")
        if package == "polars":
            return from_polars(frame)
        return frame if form_of(frame) != Form() else from_arrow(frame, "arrow")
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise BadItem(f"the data frame cannot be read: {' '.join(str(error).split())[:200]}") from None


def _checked(table: Any, name: str) -> Any:
    """Return the table. Raises BadItem where it has no rows, no columns, or two columns of one name."""
    if not table.num_columns or not table.num_rows:
        raise BadItem(f"{name} has {table.num_rows} rows and {table.num_columns} columns; expected some of both")
    _check_names(table.column_names, name)
    return table


def _check_names(names: Sequence[str], where: str) -> None:
    from .formats.csv_file import check_names

    check_names(names, where)


def to_input_type(table: Any) -> Any:
    """Return the table as the data frame of pandas or polars, or the Arrow table, that it came as.

    That of a csv file has the plain values of its cells.
    """
    from .formats.frames import to_polars, written
    from .formats.pandas_frame import to_pandas

    container = form_of(table).container
    if container == "pandas":
        return to_pandas(table)
    if container == "polars":
        return to_polars(table)
    return table if container == "csv" else written(table)


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
    """Write tables, one after the other, to a csv or parquet file, whole or not at all.

    A file whose name ends with .tsv has tabs; a parquet file has the values of a csv file and not its text. Raises
    UserError where there is no table, or the disk refuses.
    """
    from .formats.csv_file import write_csv

    parts = (table.select(data_names(table)) for table in tables)
    first = next(parts, None)
    if first is None:
        raise UserError("there are no rows to write")
    name = path.name.lower()
    with replacing(path) as temporary:
        if name.endswith(".parquet"):
            _write_parquet(temporary, first, parts)
        else:
            if name.endswith((".tsv", ".tsv.gz")):
                first = _with_tabs(first)
            write_csv(temporary, first, parts, zipped=name.endswith(".gz"))


def _with_tabs(table: Any) -> Any:
    form = form_of(table)
    dialect = replace(form.dialect, delimiter="\t", space="" if form.dialect.delimiter != "\t" else form.dialect.space)
    return with_form(table, replace(form, dialect=dialect))


def _write_parquet(path: Path, first: Any, rest: Iterator[Any]) -> None:
    import pyarrow.parquet as parquet

    from .formats.frames import written

    as_written = _plain if form_of(first).container == "csv" else written
    head = as_written(first)
    with parquet.ParquetWriter(path, head.schema, compression="zstd") as writer:
        writer.write_table(head)
        for table in rest:
            writer.write_table(as_written(table).cast(head.schema))


def _plain(table: Any) -> Any:
    from .formats.frames import without_form_of

    return without_form_of(table)
