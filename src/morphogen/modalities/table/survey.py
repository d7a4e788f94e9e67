"""What a table is like, and how each of its columns is encoded, which follows from that."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from morphogen.core.config import read_toml
from morphogen.core.errors import UserError

from . import personal
from .cells import plain
from .columns import Bins, Categories, Column, find_column
from .constraints import Constraint, contradictions, read, verify
from .kinds import Taken, infer
from .options import Kind, Options
from .units import find_units, to_numbers


@dataclass(frozen=True)
class Surveyed:
    """Of each column what it is taken for, how it is encoded, or what it is made of; and all in words."""

    taken: dict[str, Taken]
    columns: dict[str, Column]  # by name, or by the names of several, as JSON, that are one
    extra: dict[str, Any]
    notes: list[str]
    constraints: list[Constraint]


def survey(table: Any, options: Options) -> Surveyed:
    """Look at an Arrow table. Raises UserError on columns that nothing fits, or constraints that do not hold."""
    asked = _kinds(options, table.column_names)
    constraints = [read(words, table.schema) for words in options.constraints]
    contradictions(constraints)
    for one in constraints:
        verify(one, table)
    asked |= {name: "key" for one in constraints if one.form == "unique" for name in one.columns}
    rare = _rare(options, table.num_rows)
    together = {name: one.columns for one in constraints if one.form in ("fixed", "one-hot") for name in one.columns}
    derived = {one.columns[0]: list(one.columns[1:]) for one in constraints if one.form == "sum"}
    taken: dict[str, Taken] = {}
    columns: dict[str, Column] = {}
    extra: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if name in derived:
            taken[name], extra[name] = Taken("sum", f"of {' and '.join(derived[name])}"), derived[name]
            continue
        if name in together:
            taken[name] = Taken("category", f"together with {', '.join(set(together[name]) - {name})}")
            columns.setdefault(json.dumps(together[name]), _combined(table, together[name], rare))
            continue
        found = taken[name] = Taken(asked[name], "as asked") if name in asked else infer(name, column)
        if found.kind in ("constant", "text"):
            extra[name] = None if found.kind == "text" else _first(column)
        elif found.kind in ("key", "personal"):
            taken[name], extra[name] = _form(name, column, found)
        else:
            columns[name] = _column(name, column, found.kind, options)
    if not columns:
        raise UserError(
            f"no column of {', '.join(table.column_names)} can be modelled: "
            + "; ".join(f"{name} is taken for {one.kind} ({one.why})" for name, one in taken.items())
            + "; --codec.kinds NAME KIND decides otherwise"
        )
    for one in constraints:
        # The total of a sum is computed; all others have to be columns of their own.
        about = {"order": one.columns, "missing": one.columns[:1], "sum": one.columns[1:]}.get(one.form, ())
        for name in about:
            if name not in columns:
                raise UserError(f"'{one.words}' is about column '{name}', which is taken for {taken[name].kind}")
    notes = [_note(name, one, columns.get(name), table.column(name)) for name, one in taken.items()]
    notes += [f"  {one.words}: obeyed by all rows" for one in constraints]
    return Surveyed(taken, columns, extra, notes, constraints)


def _combined(table: Any, names: Sequence[str], rare: int) -> Categories:
    """The combinations of values that are found, as categories."""
    rows = Counter(zip(*(plain(table.column(name)).to_pylist() for name in names), strict=True))
    often = [(value, count) for value, count in rows.most_common() if count >= rare] or rows.most_common(1)
    return Categories([value for value, _ in often], [count for _, count in often])


def _kinds(options: Options, names: Sequence[str]) -> dict[str, Kind]:
    """The kinds that are asked for. Raises UserError on a column that is not there."""
    asked: dict[str, Any] = dict(read_toml(options.kinds_file)) if options.kinds_file else {}
    if options.kinds_file:
        asked = dict(Options(kinds=asked).kinds)
    asked |= options.kinds
    for name in asked:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(names)}"
            raise UserError(f"codec.kinds names a column '{name}' that is not there; {hint}")
    return asked


def _first(column: Any) -> Any:
    """The one value of a column, as JSON can hold it; None: all are missing."""
    import pyarrow.compute as compute

    there = compute.drop_null(column)
    if not len(there):
        return None
    value = there[0].as_py()
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _form(name: str, column: Any, found: Taken) -> tuple[Taken, Any]:
    """A column of keys or personal data: the form that is made anew, and what it takes."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    form = found.form
    if not form:  # as asked
        guess = infer(name, column)
        form = guess.form or ("number" if types.is_integer(column.type) else "pattern")
    if form == "number":
        return Taken(found.kind, found.why, form), int(compute.min(column).as_py() or 0)
    if form == "pattern":
        some = compute.drop_null(column).slice(0, 10_000).to_pylist()
        return Taken(found.kind, found.why, form), personal.pattern_of([str(value) for value in some] or [""])
    return Taken(found.kind, found.why, form), None


def _rare(options: Options, rows: int) -> int:
    """How many rows a value has to be found in to be told."""
    return options.rare or int(np.clip(rows // 100, 1, 5))


def _column(name: str, column: Any, kind: str, options: Options) -> Column:
    """How the column is encoded."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    rare = _rare(options, len(column))
    numeric = types.is_integer(column.type) or types.is_floating(column.type) or types.is_decimal(column.type)
    if kind in ("integer", "float", "datetime"):
        if not (numeric or types.is_temporal(column.type)):
            raise UserError(
                f"column '{name}' is asked to be {kind}, and holds {column.type}; expected numbers or dates"
            )
        values, missing = to_numbers(column)
        there = values[~missing]
        units = find_units(there[np.isfinite(there)] if there.dtype.kind == "f" else there)
        return find_column(values, missing, units, bins=options.bins, rare=rare)
    counts = compute.value_counts(compute.drop_null(plain(column)))
    often = sorted(
        zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True),
        key=lambda pair: (-pair[1], str(pair[0])),
    )
    kept = [(value, count) for value, count in often if count >= rare] or often[:1]
    return Categories([value for value, _ in kept], [count for _, count in kept])


def _note(name: str, taken: Taken, column: Column | None, cells: Any) -> str:
    """A line of the schema."""
    what = {
        "constant": "kept as it is",
        "text": "left empty: not modelled",
        "sum": "computed",
        "category": "modelled as one",
    }.get(taken.kind, "made anew, not modelled")
    if isinstance(column, Categories):
        what = f"{len(column.values):,} categories"
        gone = len(cells) - cells.null_count - int(column.counts.sum())
        what += f", {gone:,} rows with rarer ones" if gone else ""
    elif isinstance(column, Bins):
        what = f"{len(column.edges)} bins" + (
            f" and {len(column.spikes)} frequent values" if len(column.spikes) else ""
        )
    elif column is not None:
        what = f"{column.alphabets[0] - 1} values"
    missing = f", {cells.null_count / len(cells):.1%} missing" if cells.null_count else ""
    return f"  {name}: {taken.kind} ({taken.why}), {what}{missing}"
