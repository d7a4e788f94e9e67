"""What was inferred of a table in words: each column, what is output as it is, and what a user has to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morphogen.core.encodings import ENCODINGS

from .categories import Categories
from .cells import members
from .column import Column
from .column_types import ColumnType
from .columns import Bins, Values
from .date_parts import Clock, DatePartColumn
from .differences import DifferenceColumn, step_in_words
from .formats.form import form_of
from .generated import KINDS
from .options import Options

_MOSTLY = 0.5  # share of rows with rare values, from which on a user is warned
_UNMODELLED = {"constant": "constant", "sum": "computed", "category": "modelled as one column"}


def notes(
    table: Any, column_types: Mapping[str, ColumnType], columns: Mapping[str, Column], options: Options
) -> list[str]:
    """Return a line for each column, then warnings, then what of the values is output as it is."""
    parts: dict[str, list[str]] = {}
    for column in columns.values():
        if isinstance(column, DatePartColumn):
            parts.setdefault(column.of, []).append(column.part)
    distances = _distances(table.schema, columns)
    lines = [
        _note(name, one, columns.get(name), table.column(name), parts.get(name, ()), distances.get(name, ""))
        for name, one in column_types.items()
    ]
    warnings = [_warning(name, column, table, options) for name, column in columns.items()]
    stored = [f"  output: {line}" for line in stored_values(column_types, columns)]
    made = [name for name, one in column_types.items() if one.kind in KINDS]
    stored += [f"  output: nothing, but values made anew, of {', '.join(made)}"] if made else []
    threshold = f"  frequent is what stands in at least {options.rare} of the {len(table):,} rows read"
    return [*_encoding(table), *lines, *filter(None, warnings), *stored, threshold]


def _encoding(table: Any) -> list[str]:
    """Return a line about the encoding of a csv file that is not UTF-8; none for any other table."""
    encoding = form_of(table).dialect.encoding
    if encoding == "utf-8":
        return []
    words = f"  read as {ENCODINGS[encoding]}, and written in it"
    return [words if encoding.startswith("utf") else f"{words}; if letters look wrong, save the file as UTF-8"]


def _distances(schema: Any, columns: Mapping[str, Column]) -> dict[str, str]:
    """Return for each column of dates that is modelled by its distance from another one what is counted."""
    words = {}
    for column in columns.values():
        if isinstance(column, DifferenceColumn):
            clock = Clock.of(schema.field(column.of).type)
            assert clock is not None
            words[column.of] = f"{step_in_words(column, clock)} after {column.reference}"
    return words


def stored_values(column_types: Mapping[str, ColumnType], columns: Mapping[str, Column]) -> list[str]:
    """Return in words which values are stored and output as they are, a line for each reason."""
    frequent = [
        one
        for name, column in columns.items()
        if isinstance(column, (Categories, Values)) and len(column.values) and not column.pseudonyms
        for one in members(name)
    ]
    bins = [name for name, column in columns.items() if isinstance(column, Bins)]
    distances = [f"{one.of} after {one.reference}" for one in columns.values() if isinstance(one, DifferenceColumn)]
    constants = [name for name, one in column_types.items() if one.kind == "constant"]
    lines = [
        ("the frequent values, as they are, of", frequent),
        ("edges of intervals and very frequent numbers of", bins),
        ("frequent distances, or edges of intervals of them:", distances),
        ("the one value of", constants),
    ]
    return [f"{words} {', '.join(names)}" for words, names in lines if names]


def _note(
    name: str, column_type: ColumnType, column: Column | None, values: Any, parts: Sequence[str], distance: str
) -> str:
    """Return a line that says what a column is and how it is encoded."""
    present = len(values) - values.null_count
    if isinstance(column, Categories) and column.pseudonyms:
        encoding = f"{len(column.values):,} of them under made-up names in as many rows, all others made anew"
    elif isinstance(column, Categories):
        encoding = f"{len(column.values):,} categories"
        rare = present - int(column.counts.sum())
        encoding += f", {rare:,} rows with rarer ones, which become {_becomes(column)}" if rare else ""
    elif isinstance(column, Bins):
        encoding = f"{column.field.ordered:,} intervals"
        encoding += f" and {len(column.spikes)} frequent values" if len(column.spikes) else ""
    elif isinstance(column, Values):
        encoding = f"{len(column.values)} values"
        encoding += ", rarer ones become the nearest" if len(column.values) else ": too few rows to output one, missing"
    elif column_type.kind in KINDS:
        encoding = "made anew, not modelled"
    else:
        encoding = _UNMODELLED[column_type.kind]
    if distance:
        encoding += f", modelled as {distance}" + (f", and by {_listed(parts)}" if parts else "")
    elif parts:
        encoding += f", modelled by {_listed(parts)}, too"
    missing = f", {values.null_count / len(values):.1%} missing" if values.null_count else ""
    form = f", {column_type.form}" if column_type.kind == "personal" else ""
    return f"  {name}: {column_type.kind}{form} ({column_type.reason}), {encoding}{missing}"


def _becomes(column: Categories) -> str:
    return "missing" if column.other is None else f"{column.other!r}"


def _warning(name: str, column: Column, table: Any, options: Options) -> str:
    """Return a line about a column most of whose rows have rare values; empty for any other."""
    if not isinstance(column, Categories) or column.pseudonyms:
        return ""
    present = len(table) if name not in table.column_names else len(table) - table.column(name).null_count
    rare = present - int(column.counts.sum())
    if rare <= _MOSTLY * present:
        return ""
    title = ", ".join(members(name))
    return (
        f"  warning: {rare / present:.0%} of the rows of {title} would be {_becomes(column)}, since fewer than "
        f"{options.rare} rows have the same value; to output more of them: --codec.rare 2; to have others made up: "
        f"--codec.kinds {members(name)[0]} personal; or drop the column"
    )


def _listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
