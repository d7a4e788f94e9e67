"""The form of a table: its container, the format of each column, and the labels and types of a data frame.

It travels in the metadata of the Arrow table's schema, so with each part of the table and with the codec.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from .column import ColumnFormat
from .dialect import Dialect

_KEY = b"morphogen"  # in a schema's metadata

Container = Literal["arrow", "pandas", "polars", "csv", "parquet"]


@dataclass(frozen=True)
class Labels:
    """The labels and types of a data frame that Arrow does not know.

    `columns` are labels that are no text, by the text that stands for them in Arrow; of polars, the columns that are
    enumerations. `index` are the columns, behind all others, that hold the index of known rows. `columns_names` and
    `index_names` are those of the axes and their levels. `dtypes` are types as pandas writes them, of the index, too;
    of Arrow and polars those of columns with a format, see `typed.pack_type`.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    columns_names: tuple[Any, ...] = ()
    index: tuple[str, ...] = ()
    index_names: tuple[Any, ...] = ()
    dtypes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """How a table is written; a column without a format is written as Arrow writes it."""

    container: Container = "arrow"
    dialect: Dialect = field(default_factory=Dialect)
    labels: Labels = field(default_factory=Labels)
    columns: Mapping[str, ColumnFormat] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "container": self.container,
            "dialect": asdict(self.dialect),
            "labels": asdict(self.labels),
            "columns": {name: one.state() for name, one in self.columns.items()},
        }


def form_of(table: Any) -> Form:
    """Return the form of a table, or of a schema; where there is none, that of an Arrow table."""
    from .registry import format_from_state

    schema = getattr(table, "schema", table)
    text = (schema.metadata or {}).get(_KEY)
    if not text:
        return Form()
    state = json.loads(text)
    labels = {name: _frozen(value) for name, value in state["labels"].items()}
    columns = {name: format_from_state(one) for name, one in state["columns"].items()}
    dialect = {name: _frozen(value) for name, value in state["dialect"].items()}
    return Form(state["container"], Dialect(**dialect), Labels(**labels), columns)


def with_form(table: Any, form: Form) -> Any:
    """Return the same table, or schema, with its form."""
    schema = getattr(table, "schema", table)
    metadata = {**(schema.metadata or {}), _KEY: json.dumps(form.state()).encode()}
    return table.with_metadata(metadata) if hasattr(table, "with_metadata") else table.replace_schema_metadata(metadata)


def without_form(schema: Any) -> Any:
    """Return a schema without its form."""
    return schema.with_metadata({name: value for name, value in (schema.metadata or {}).items() if name != _KEY})


def with_columns(form: Form, columns: Mapping[str, ColumnFormat]) -> Form:
    """Return the form with these formats of columns."""
    return replace(form, columns=dict(columns))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
