"""Arrow tables whose columns have formats: data frames of polars, Arrow's own tables, parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphogen.core.errors import UserError, one_line

from .column import ColumnFormat, is_text, whole
from .convert import convert
from .form import Container, Form, Labels, form_of, with_form, without_form
from .registry import infer_typed, infer_values
from .typed import pack_type, unpack_type
from .words import TextFormat


def arrow_columns(raw: Mapping[str, Any], opaque: frozenset[str] = frozenset()) -> tuple[Any, dict[str, ColumnFormat]]:
    """Return the table of columns as the statistics see them, and the formats of those that are written otherwise.

    The text of an `opaque` column has no format.
    """
    import pyarrow as arrow
    import pyarrow.types as types

    plain: dict[str, Any] = {}
    formats: dict[str, ColumnFormat] = {}
    for name, column in raw.items():
        column = column if isinstance(column, arrow.ChunkedArray) else arrow.chunked_array([column])
        own = _text_format(column) if is_text(column.type) and name not in opaque else None
        if not types.is_null(column.type) and not is_text(column.type):
            own = infer_typed(column)
        if own is not None:
            formats[name] = own
            column = own.read(column.cast(arrow.string()) if is_text(column.type) else column)
        plain[name] = column
    return arrow.table(plain), formats


def from_arrow(table: Any, container: Container) -> Any:
    """Return an Arrow table as the statistics see it, with the form that it had."""
    table = without_form_of(table)
    plain, formats = arrow_columns(dict(zip(table.column_names, table.columns, strict=True)))
    types = {name: pack_type(table.schema.field(name).type) for name in formats}
    form = Form(container, labels=Labels(dtypes=types), columns=formats)
    return with_form(plain.replace_schema_metadata(table.schema.metadata), form)


def without_form_of(table: Any) -> Any:
    """Return an Arrow table whose schema says nothing of its form."""
    return table.replace_schema_metadata(without_form(table.schema).metadata)


def written(table: Any) -> Any:
    """Return an Arrow table with the cells of each column as they are written, in a type of Arrow."""
    import pyarrow as arrow

    form = form_of(table)
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        own = form.columns.get(name)
        if own is not None:
            column = own.write(column)
            if form.container != "pandas" and name in form.labels.dtypes:
                column = column.cast(unpack_type(form.labels.dtypes[name]))
        columns[name] = column
    return arrow.table(columns).replace_schema_metadata(without_form(table.schema).metadata)


def in_form_of(table: Any, like: Any) -> Any:
    """Return a table with the columns of another, in their formats and types.

    Raises UserError naming a column that is written otherwise, or of another type.
    """
    import pyarrow as arrow

    if table.schema.equals(like.schema, check_metadata=True):
        return table
    own, target = form_of(table).columns, form_of(like).columns
    columns = []
    for one in like.schema:
        try:
            column = convert(table.column(one.name), own.get(one.name), target.get(one.name), one.type)
            columns.append(whole(column).cast(one.type))
        except (ValueError, arrow.ArrowException) as error:
            raise UserError(f"column '{one.name}' differs from that of the first table: {one_line(error)}") from None
    return arrow.table(columns, schema=like.schema)


def to_polars(table: Any) -> Any:
    """Return the data frame of polars of an Arrow table."""
    import polars

    cells = written(table)
    enums = {name: whole(cells.column(name)).dictionary.to_pylist() for name in form_of(table).labels.columns}
    frame = polars.from_arrow(cells)
    return frame.with_columns(polars.col(name).cast(polars.Enum(values)) for name, values in enums.items())


def from_polars(frame: Any) -> Any:
    """Return the Arrow table of a data frame of polars."""
    table = from_arrow(frame.to_arrow(), "polars")
    form = form_of(table)
    enums = {name: "Enum" for name, kind in frame.schema.items() if str(kind).startswith("Enum")}
    labels = Labels(columns=enums, dtypes=form.labels.dtypes)
    return with_form(table, Form("polars", labels=labels, columns=form.columns))


def _text_format(column: Any) -> ColumnFormat | None:
    """Return the format of a column of text; None: it is text to the statistics, too."""
    import pyarrow as arrow
    import pyarrow.compute as compute

    distinct = whole(compute.unique(compute.drop_null(column.cast(arrow.string()))))
    own = infer_values(distinct) if len(distinct) else TextFormat()
    return None if isinstance(own, TextFormat) else own
