"""What each column of a table is, and how it is encoded, inferred from the data and the options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from morphogen.core.config import build, read_toml
from morphogen.core.errors import UserError, unknown

from . import pii
from .cells import joined, plain, plain_type
from .column_types import ColumnType, infer, is_categorical, text_form
from .columns import Bins, Categories, Column, fit_numbers
from .constraints import Constraint, check_consistent, parse_constraint, verify
from .options import Kind, Options
from .units import find_units, is_numeric, to_numbers


@dataclass(frozen=True)
class InferredTable:
    """The type of each column of a table, and how it is encoded or generated.

    `columns` holds the modelled columns by name, or by the `cells.joined` names of several that are modelled as one.
    `unmodelled` holds what each other column is generated from: a constant (None: missing), the parts of a sum, the
    first number or the pattern of a key. `notes` says the same in words, one line a column.
    """

    column_types: dict[str, ColumnType]
    columns: dict[str, Column]
    unmodelled: dict[str, Any]
    notes: list[str]
    constraints: list[Constraint]


def infer_table(table: Any, options: Options) -> InferredTable:
    """Return the columns of an Arrow table.

    Raises UserError on columns of a type that cannot be modelled, or constraints that the rows do not satisfy.
    """
    constraints = [parse_constraint(words, table.schema) for words in options.constraints]
    check_consistent(constraints)
    for one in constraints:
        verify(one, table)
    kinds = _chosen_kinds(options, table.column_names)
    kinds |= {name: "key" for one in constraints if one.form == "unique" for name in one.columns}
    together = {name: one.columns for one in constraints if one.form in ("fixed", "one-hot") for name in one.columns}
    sums = {one.columns[0]: list(one.columns[1:]) for one in constraints if one.form == "sum"}
    column_types: dict[str, ColumnType] = {}
    columns: dict[str, Column] = {}
    unmodelled: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if name in sums:
            column_types[name] = ColumnType("sum", f"of {' and '.join(sums[name])}")
            unmodelled[name] = sums[name]
            continue
        if name in together:
            others = ", ".join(other for other in together[name] if other != name)
            column_types[name] = ColumnType("category", f"together with {others}")
            if joined(together[name]) not in columns:
                columns[joined(together[name])] = _combined(table, together[name], _rare(options, table.num_rows))
            continue
        inferred = ColumnType(kinds[name], "as chosen") if name in kinds else infer(name, column)
        if inferred.kind in ("constant", "free_text"):
            unmodelled[name] = None if inferred.kind == "free_text" else _constant(column)
        elif inferred.kind in ("key", "personal"):
            inferred, unmodelled[name] = _generated(name, column, inferred)
        else:
            columns[name] = _column(name, column, inferred.kind, options)
        column_types[name] = inferred
    _check_modelled(constraints, columns, column_types)
    notes = [_note(name, one, columns.get(name), table.column(name)) for name, one in column_types.items()]
    notes += [f"  {one.words}: satisfied by all rows" for one in constraints]
    return InferredTable(column_types, columns, unmodelled, notes, constraints)


def _check_modelled(
    constraints: Sequence[Constraint], columns: Mapping[str, Column], column_types: Mapping[str, ColumnType]
) -> None:
    """Raise UserError where nothing is left to model, or a constraint relates a column that is not modelled."""
    if not columns:
        raise UserError(
            f"no column of {', '.join(column_types)} can be modelled: "
            + "; ".join(f"{name} is of kind {one.kind} ({one.reason})" for name, one in column_types.items())
            + "; choose another kind with --codec.kinds NAME KIND"
        )
    for one in constraints:
        # The total of a sum is computed; all others have to be columns of their own.
        related = {"order": one.columns, "missing": one.columns, "sum": one.columns[1:]}.get(one.form, ())
        for name in related:
            if name not in columns:
                kind = column_types[name].kind
                raise UserError(f"'{one.words}' relates column '{name}', which is of kind {kind} and not modelled")


def _combined(table: Any, names: Sequence[str], rare: int) -> Categories:
    """Return the combinations of values that several columns have, as categories."""
    for name in names:
        _check_categorical(name, table.column(name).type)
    rows = Counter(zip(*(plain(table.column(name)).to_pylist() for name in names), strict=True))
    frequent = [(value, count) for value, count in rows.most_common() if count >= rare] or rows.most_common(1)
    return Categories([value for value, _ in frequent], [count for _, count in frequent])


def _chosen_kinds(options: Options, names: Sequence[str]) -> dict[str, Kind]:
    """Return the kinds that the options name. Raises UserError on a column that the table does not have."""
    kinds: dict[str, Kind] = {}
    if options.kinds_file:
        kinds |= build(Options, {"kinds": read_toml(options.kinds_file)}, f"the options in {options.kinds_file}").kinds
    kinds |= options.kinds
    for name in kinds:
        if name not in names:
            raise unknown("column in codec.kinds", name, names)
    return kinds


def _constant(column: Any) -> Any:
    """Return the one value of a column, as JSON can hold it; None where all are missing."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    present = compute.drop_null(column)
    if not len(present):
        return None
    if types.is_temporal(column.type):
        return int(to_numbers(present)[0][0])
    value = present[0].as_py()
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _generated(name: str, column: Any, inferred: ColumnType) -> tuple[ColumnType, Any]:
    """Return the type of a column of keys or personal data with its form, and what it is generated from.

    Raises UserError where the column holds neither whole numbers nor text.
    """
    import pyarrow.compute as compute
    import pyarrow.types as types

    kind = plain_type(column.type)
    if types.is_integer(kind):
        form = "number"
    elif types.is_string(kind) or types.is_large_string(kind):
        form = inferred.form or text_form(name, column)
        if not form or (inferred.kind == "key" and form != "uuid"):
            form = "pattern"
    else:
        raise UserError(
            f"column '{name}' cannot be {inferred.kind}: it holds {column.type}; expected whole numbers or text: "
            "convert it, or choose another kind"
        )
    inferred = replace(inferred, form=form)
    if form == "number":
        return inferred, int(compute.min(plain(column)).as_py() or 0)
    if form == "pattern":
        some = compute.drop_null(column).slice(0, 10_000).to_pylist()
        return inferred, pii.pattern_of([str(value) for value in some] or [""])
    return inferred, None


def _rare(options: Options, rows: int) -> int:
    """Return how many rows a value needs to have a cell of its own."""
    return options.rare or int(np.clip(rows // 100, 1, 5))


def _column(name: str, column: Any, kind: str, options: Options) -> Column:
    """Return the encoding of a column that is modelled by itself."""
    import pyarrow.compute as compute

    rare = _rare(options, len(column))
    if kind in ("integer", "float", "datetime"):
        if not is_numeric(column.type):
            raise UserError(f"column '{name}' cannot be {kind}: it holds {column.type}; expected numbers or dates")
        values, missing = to_numbers(column)
        return fit_numbers(values, missing, find_units(values[~missing]), bins=options.bins, rare=rare)
    _check_categorical(name, column.type)
    counts = compute.value_counts(compute.drop_null(plain(column)))
    pairs = sorted(
        zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True),
        key=lambda pair: (-pair[1], str(pair[0])),
    )
    frequent = [(value, count) for value, count in pairs if count >= rare] or pairs[:1]
    return Categories([value for value, _ in frequent], [count for _, count in frequent])


def _check_categorical(name: str, kind: Any) -> None:
    if not is_categorical(kind):
        raise UserError(f"column '{name}' cannot be a category: it holds {kind}; convert it to text")


def _note(name: str, column_type: ColumnType, column: Column | None, values: Any) -> str:
    """Return a line that says what a column is and how it is encoded."""
    if isinstance(column, Categories):
        encoding = f"{len(column.values):,} categories"
        rare = len(values) - values.null_count - int(column.counts.sum())
        encoding += f", {rare:,} rows with rarer ones" if rare else ""
    elif isinstance(column, Bins):
        encoding = f"{column.bins} bins"
        encoding += f" and {len(column.spikes)} frequent values" if len(column.spikes) else ""
    elif column is not None:
        encoding = f"{column.field.size - 1} values"
    else:
        encodings = {
            "constant": "constant",
            "free_text": "left empty, not modelled",
            "sum": "computed",
            "category": "modelled as one column",
        }
        encoding = encodings.get(column_type.kind, "generated anew, not modelled")
    missing = f", {values.null_count / len(values):.1%} missing" if values.null_count else ""
    return f"  {name}: {column_type.kind} ({column_type.reason}), {encoding}{missing}"
