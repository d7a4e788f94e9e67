"""The labels of categorical types, which a schema lists, without those that only rare rows have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .categories import Categories
from .cells import members
from .column import Column
from .formats.form import form_of, with_columns, with_form
from .formats.typed import CategoryFormat


def without_rare_labels(schema: Any, columns: Mapping[str, Column]) -> Any:
    """Return the schema of a table, whose categorical types list the frequent values of modelled columns alone.

    Labels that no row has stay. Of a column that is made anew no label of a row is listed.
    """
    form = form_of(schema)
    shown: dict[str, list[Any]] = {}
    for name, column in columns.items():
        if isinstance(column, Categories) and not column.pseudonyms:
            for at, member in enumerate(members(name)):
                combined = member != name
                shown[member] = [value[at] if combined else value for value in column.values]
    formats = {
        name: one.protected(shown.get(name, ())) if isinstance(one, CategoryFormat) else one
        for name, one in form.columns.items()
    }
    return with_form(schema, with_columns(form, formats)) if form.columns else schema
