"""What each column of a table is, and how it is encoded, inferred from the data and the options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

import numpy as np

from morphogen.core.errors import UserError, unknown

from .binning import fit_numbers, protected_units
from .categories import Categories
from .cells import joined, plain
from .column import Column
from .column_types import ColumnType, infer, is_categorical
from .columns import Numbers
from .constraints import Constraint, check_consistent, closure, parse_constraint, verify
from .date_parts import Clock, part_key, split_dates
from .difference_search import with_differences
from .formats.form import form_of as form_of_table
from .formats.words import TextFormat
from .generated import KINDS, form_of, language_of, made_anew, people_of
from .notes import notes
from .options import Kind, Options
from .schema_file import read_schema
from .units import is_numeric, to_numbers

_OTHER = "other"


@dataclass(frozen=True)
class InferredTable:
    """The type of each column of a table, and how it is encoded or generated.

    `columns` holds the modelled columns by name, or by the `cells.joined` names of several that are modelled as one.
    `unmodelled` holds what each other column is generated from: a constant (None: missing), the parts of a sum, or
    the state of a recipe (see `personal.recipe`), which columns of pseudonyms have, too. `notes` says it in words.
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
    one_hot = {name for one in constraints if one.form == "one-hot" for name in one.columns}
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
                columns[joined(together[name])] = _combined(table, together[name], options, name in one_hot)
            continue
        inferred = ColumnType(kinds[name], "as chosen") if name in kinds else _inferred(name, column, options.rare)
        if inferred.kind == "constant":
            unmodelled[name] = _constant(column, options.rare)
        elif inferred.kind in KINDS:
            inferred = form_of(name, column, inferred)
        else:
            columns |= _columns(table, name, inferred.kind, options)
        column_types[name] = inferred
    language, people = language_of(table, column_types), people_of(table, column_types)
    for name, kind in column_types.items():
        if kind.kind in KINDS:
            recipe, pseudonyms = made_anew(
                name, table.column(name), kind, rare=options.rare, language=language, people=people
            )
            unmodelled[name] = recipe.state()
            if pseudonyms is not None:
                columns[name] = pseudonyms
    _check_modelled(constraints, columns, column_types)
    orders = closure([one for one in constraints if one.form == "order"])
    columns = with_differences(table, columns, orders, options)
    lines = notes(table, column_types, columns, options)
    lines += [f"  {one.words}: satisfied by all rows" for one in constraints]
    return InferredTable(column_types, columns, unmodelled, lines, constraints)


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


def _combined(table: Any, names: Sequence[str], options: Options, one_hot: bool) -> Categories:
    """Return the combinations of values that several columns have, as categories.

    A rare one becomes a combination of what rare values of each column become; where columns are `one_hot`, the most
    frequent combination.
    """
    for name in names:
        _check_categorical(name, table.column(name).type)
    rows = Counter(zip(*(plain(table.column(name)).to_pylist() for name in names), strict=True))
    frequent = [(value, count) for value, count in rows.most_common() if count >= options.rare]
    others = [
        _other([value[at] for value, _ in frequent], table.schema, name, options) for at, name in enumerate(names)
    ]
    return Categories(
        [value for value, _ in frequent],
        [count for _, count in frequent],
        other=frequent[0][0] if one_hot and frequent else tuple(others),
    )


def _other(values: Sequence[Any], schema: Any, name: str, options: Options) -> Any:
    """Return what rare values of a column become beside the frequent `values`; None: missing."""
    import pyarrow.types as types

    kind, written = schema.field(name).type, form_of_table(schema).columns.get(name)
    if types.is_boolean(kind):
        return values[0] if values else None
    is_text = types.is_string(kind) or types.is_large_string(kind)
    if options.rare_as == "missing" or not is_text or not (written is None or isinstance(written, TextFormat)):
        return None
    taken = set(values)
    return next(
        name for name in chain((_OTHER, f"({_OTHER})"), (f"{_OTHER} {n}" for n in count(2))) if name not in taken
    )


def _chosen_kinds(options: Options, names: Sequence[str]) -> dict[str, Kind]:
    """Return the kinds that the options name. Raises UserError on a column that the table does not have."""
    kinds = read_schema(options.schema_file, names).kinds if options.schema_file else {}
    kinds |= options.kinds
    for name in kinds:
        if name not in names:
            raise unknown("column in codec.kinds", name, names)
    return kinds


def _inferred(name: str, column: Any, rare: int) -> ColumnType:
    """Return the type of a column; codes such as postal ones, most of which would be rare, are made anew."""
    import pyarrow.compute as compute

    inferred = infer(name, column)
    if inferred.form != "code" or inferred.kind != "category":
        return inferred
    counts = np.asarray(compute.value_counts(compute.drop_null(plain(column))).field("counts"))
    if counts[counts < rare].sum() <= 0.5 * counts.sum():
        return inferred
    return replace(inferred, kind="personal", reason=f"{inferred.reason}, most of them in fewer than {rare} rows")


def _constant(column: Any, rare: int) -> Any:
    """Return the one value of a column, as JSON holds it; None where fewer than `rare` rows have it."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    present = compute.drop_null(column)
    if len(present) < rare:
        return None
    if types.is_temporal(column.type):
        return int(to_numbers(present)[0][0])
    value = present[0].as_py()
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _columns(table: Any, name: str, kind: str, options: Options) -> dict[str, Column]:
    """Return the encoding of a column that is modelled by itself, and those of its parts where it holds dates."""
    column, clock = _column(table, name, kind, options), Clock.of(table.schema.field(name).type)
    if clock is None or not isinstance(column, Numbers):
        return {name: column}
    ticks, missing = to_numbers(table.column(name))
    column, parts = split_dates(name, column, ticks[~missing], clock, options.rare)
    return {name: column} | {part_key(part): part for part in parts}


def _column(table: Any, name: str, kind: str, options: Options) -> Column:
    """Return the encoding of a column that is modelled by itself."""
    import pyarrow.compute as compute

    column = table.column(name)
    if kind in ("integer", "float", "datetime"):
        if not is_numeric(column.type):
            raise UserError(f"column '{name}' cannot be {kind}: it holds {column.type}; expected numbers or dates")
        values, missing = to_numbers(column)
        units = protected_units(values[~missing], options.rare)
        return fit_numbers(values, missing, units, bins=options.bins, rare=options.rare)
    _check_categorical(name, column.type)
    counts = compute.value_counts(compute.drop_null(plain(column)))
    pairs = sorted(
        zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True),
        key=lambda pair: (-pair[1], str(pair[0])),
    )
    frequent = [(value, count) for value, count in pairs if count >= options.rare]
    categories = [value for value, _ in frequent]
    other = _other(categories, table.schema, name, options)
    return Categories(categories, [count for _, count in frequent], other=other)


def _check_categorical(name: str, kind: Any) -> None:
    if not is_categorical(kind):
        raise UserError(f"column '{name}' cannot be a category: it holds {kind}; convert it to text")
