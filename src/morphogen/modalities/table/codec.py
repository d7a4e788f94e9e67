"""Tables as symbols: each row those of its columns, in their order, and two more that nothing is learned of."""

from __future__ import annotations

import base64
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.codec import Asked, RowCodec
from morphogen.core.config import read_toml
from morphogen.core.errors import UserError, needs_extra, unknown
from morphogen.core.model import Evidence, Partial
from morphogen.core.space import Space, Tokens

from . import files, personal
from .asked import read_wanted
from .columns import Bins, Categories, Column, find_column, restored
from .kinds import Taken, infer
from .options import Kind, Options
from .units import find_units, to_column, to_numbers

_MANY = 500  # rows, from which on what is in fewer than 5 of them is not told
_SALT, _SALTS = 2**16, 2  # alphabet and number of the symbols that settle where in its cell a number lies


class TableCodec(RowCodec[Any]):
    """Arrow tables to symbols and back, with the schema, the order and the precision that they had.

    A row's last symbols are salt: drawn evenly, they settle what the others leave open.
    """

    spaces = (Tokens,)
    fits_to_all = True
    batch = 8192

    def __init__(
        self,
        schema: Any,
        taken: Mapping[str, Taken],
        columns: Mapping[str, Column],
        extra: Mapping[str, Any],
        notes: list[str],
    ) -> None:
        """`extra` holds what columns are made of that are not modelled."""
        self.schema, self.taken, self.columns, self.extra, self.notes = schema, taken, columns, extra, notes
        self.parts = tuple(len(column.alphabets) for column in columns.values())
        alphabets = tuple(size for column in columns.values() for size in column.alphabets)
        self.space: Tokens = Tokens(
            (*alphabets, *[_SALT] * _SALTS), (len(alphabets) + _SALTS,), parts=self.parts, even=_SALTS
        )

    @classmethod
    def fit(cls, chunks: Iterable[Any], kind: type[Space], options: Options | None = None) -> Self:
        """The codec of these tables; `notes` is the schema in words. Raises UserError on columns that nothing fits."""
        if kind is not Tokens:
            raise UserError("tables are made of symbols here, and this family models numbers; use autoregressive")
        options = options or Options()
        try:
            import pyarrow as arrow
        except ImportError:
            raise needs_extra("pyarrow", "table", "reading tables") from None
        table = arrow.concat_tables(chunks).combine_chunks()
        if not table.num_rows:
            raise UserError("the table has no rows; expected at least one")
        asked = _kinds(options, table.column_names)
        rare = options.rare or int(np.clip(table.num_rows // 100, 1, 5))
        taken: dict[str, Taken] = {}
        columns: dict[str, Column] = {}
        extra: dict[str, Any] = {}
        for name in table.column_names:
            column = table.column(name)
            found = taken[name] = Taken(asked[name], "as asked") if name in asked else infer(name, column)
            if found.kind in ("constant", "text"):
                extra[name] = None if found.kind == "text" else _first(column)
            elif found.kind in ("key", "personal"):
                taken[name], extra[name] = _form(name, column, found)
            else:
                columns[name] = _column(name, column, found.kind, options.bins, rare)
        if not columns:
            raise UserError(
                f"no column of {', '.join(table.column_names)} can be modelled: "
                + "; ".join(f"{name} is taken for {one.kind} ({one.why})" for name, one in taken.items())
                + "; --codec.kinds NAME KIND decides otherwise"
            )
        notes = [_note(name, one, columns.get(name), table.column(name), rare) for name, one in taken.items()]
        return cls(table.schema, taken, columns, extra, notes)

    def encode(self, items: Any) -> Tensor:
        """`(B, positions)` int64. Raises UserError where a column is absent, or of another type."""
        parts = []
        for name, column in self.columns.items():
            values, missing = _values(column, self._cells(items, name))
            parts.append(column.encode(values, missing))
        return torch.from_numpy(np.concatenate([*parts, _salt(parts)], axis=1))

    def decode(self, x: Tensor) -> Any:
        """An Arrow table."""
        return self._decoded(x.detach().cpu().numpy(), 0, {})

    def decode_asked(self, x: Tensor, asked: Asked, first: int) -> Any:
        """The same of rows drawn under a condition, which numbers meet to the last digit."""
        return self._decoded(x.detach().cpu().numpy(), first, asked.wanted)

    def observe(self, items: Any, holes: Any) -> Partial:
        """The rows of which all but the `holes`, bool `(B, columns of the table)`, are known."""
        x = self.encode(items)
        known = torch.zeros_like(x, dtype=torch.bool)
        holes = np.asarray(holes)
        position, names = 0, self.schema.names
        for (name, _), size in zip(self.columns.items(), self.parts, strict=True):
            known[:, position : position + size] = torch.from_numpy(~holes[:, names.index(name)])[:, None]
            position += size
        return Partial(x, known)

    def adopted(self, items: Any) -> Any:
        """An Arrow table of what may be a data frame, in the order and the types of this schema.

        Raises UserError on a column that is not of it.
        """
        import pyarrow as arrow

        table = files.from_frame(items) if not hasattr(items, "combine_chunks") else items
        for name in table.column_names:
            if name not in self.schema.names:
                raise unknown("column", name, self.schema.names)
        columns = [
            self._cells(table, field.name) if field.name in table.column_names else arrow.nulls(len(table), field.type)
            for field in self.schema
        ]
        return files.formed(arrow.table(columns, schema=self.schema), files.form_of(table))

    def missing(self, items: Any) -> NDArray[np.bool_]:
        """Bool `(rows, columns)`."""
        return np.stack([np.asarray(column.is_null().to_numpy()) for column in items.columns], axis=1)

    def pasted(self, drawn: Any, items: Any, holes: Any) -> Any:
        """The drawn rows with all that was known as it was given, to the last digit."""
        import pyarrow as arrow
        import pyarrow.compute as compute

        columns = [
            compute.if_else(arrow.array(np.asarray(holes)[:, number]), drawn.column(name), items.column(name))
            for number, name in enumerate(self.schema.names)
        ]
        return files.formed(arrow.table(columns, schema=self.schema), files.form_of(items))

    def given_back(self, parts: Iterable[Any]) -> Any:
        """A data frame of pandas or polars where it was fitted to one, else an Arrow table."""
        import pyarrow as arrow

        return files.given_back(arrow.concat_tables(parts))

    def asked(self, condition: Mapping[str, Any]) -> Asked:
        """What rows are asked to be, by column: see `asked.read_wanted`. Raises UserError on what no row can be."""
        wanted = {}
        for name, value in condition.items():
            if name not in self.schema.names:
                raise unknown("column", name, self.schema.names)
            if name not in self.columns:
                raise UserError(f"column '{name}' is taken for {self.taken[name].kind}, which is not modelled; drop it")
            wanted[name] = read_wanted(name, value, self.columns[name], self.schema.field(name).type)
        return Asked(wanted, Evidence(self._chances(wanted)))

    def _chances(self, wanted: Mapping[str, Any]) -> dict[int, Tensor]:
        found, position = {}, 0
        for (name, column), size in zip(self.columns.items(), self.parts, strict=True):
            if name in wanted:
                for number, chances in enumerate(column.chances(wanted[name])):
                    found[position + number] = torch.from_numpy(chances)
            position += size
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "taken": {name: [one.kind, one.why, one.form] for name, one in self.taken.items()},
            "columns": {name: {"is": column.kind, **column.state()} for name, column in self.columns.items()},
            "extra": self.extra,
            "notes": self.notes,
        }, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        import pyarrow as arrow

        schema = arrow.ipc.read_schema(arrow.py_buffer(base64.b64decode(config["schema"])))
        taken = {name: Taken(*one) for name, one in config["taken"].items()}
        columns = {name: restored(one, one["is"]) for name, one in config["columns"].items()}
        return cls(schema, taken, columns, config["extra"], config["notes"])

    def _cells(self, items: Any, name: str) -> Any:
        """The column of a table, in the type that it had."""
        import pyarrow as arrow

        if name not in items.column_names:
            raise UserError(f"the table has no column '{name}'; it has {', '.join(items.column_names)}")
        column, kind = items.column(name).combine_chunks(), self.schema.field(name).type
        if column.type == kind:
            return column
        try:
            return column.cast(kind)
        except arrow.ArrowException as error:
            raise UserError(f"column '{name}' holds {column.type}, and held {kind} in training ({error})") from None

    def _decoded(self, x: NDArray[np.int64], first: int, wanted: Mapping[str, Any]) -> Any:
        import pyarrow as arrow

        salt = x[:, -2].astype(np.uint64) * np.uint64(_SALT) + x[:, -1].astype(np.uint64)
        columns, position = [], 0
        for number, field in enumerate(self.schema):
            name, words = field.name, _mixed(salt, number)
            column = self.columns.get(name)
            if column is None:
                columns.append(self._made(name, field.type, words, first))
                continue
            symbols = x[:, position : position + len(column.alphabets)]
            position += len(column.alphabets)
            inside = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
            values, missing = column.decode(symbols, inside)
            if name in wanted and isinstance(column, Bins):
                values = column.within(values, symbols, inside, wanted[name])
            columns.append(_column_of(values, missing, column, field.type))
        return arrow.table(columns, schema=self.schema)

    def _made(self, name: str, kind: Any, words: NDArray[np.uint64], first: int) -> Any:
        """A column that is not modelled."""
        import pyarrow as arrow

        count, form, extra = len(words), self.taken[name].form, self.extra[name]
        if form == "number":
            return arrow.array(np.arange(extra + first, extra + first + count)).cast(kind)
        if form == "pattern":
            return arrow.array(personal.fill_pattern(extra, words)).cast(kind)
        if form == "uuid":
            return arrow.array(personal.make_uuid(words)).cast(kind)
        if form:
            return arrow.array(personal.fake(form, words)).cast(kind)
        if extra is None:
            return arrow.nulls(count, kind)
        return arrow.repeat(arrow.scalar(extra), count).cast(kind)


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


def _column(name: str, column: Any, kind: Kind, bins: int, rare: int) -> Column:
    """How the column is encoded."""
    import pyarrow.compute as compute
    import pyarrow.types as types

    numeric = types.is_integer(column.type) or types.is_floating(column.type) or types.is_decimal(column.type)
    if kind in ("integer", "float", "datetime"):
        if not (numeric or types.is_temporal(column.type)):
            raise UserError(
                f"column '{name}' is asked to be {kind}, and holds {column.type}; expected numbers or dates"
            )
        values, missing = to_numbers(column)
        there = values[~missing]
        units = find_units(there[np.isfinite(there)] if there.dtype.kind == "f" else there)
        return find_column(values, missing, units, bins=bins, rare=rare)
    counts = compute.value_counts(compute.drop_null(_plain(column)))
    often = sorted(
        zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True),
        key=lambda pair: (-pair[1], str(pair[0])),
    )
    kept = [(value, count) for value, count in often if count >= rare] or often[:1]
    return Categories([value for value, _ in kept], [count for _, count in kept])


def _plain(column: Any) -> Any:
    """A dictionary as its values."""
    import pyarrow.types as types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _values(column: Column, cells: Any) -> tuple[Any, NDArray[np.bool_]]:
    if isinstance(column, Categories):
        plain = _plain(cells)
        return plain.to_pylist(), np.asarray(plain.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
    return to_numbers(cells)


def _column_of(values: Any, missing: NDArray[np.bool_], column: Column, kind: Any) -> Any:
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    if not isinstance(column, Categories):
        return to_column(values, missing, kind)
    if types.is_dictionary(kind):
        known = arrow.array(column.values, kind.value_type)
        indices = compute.index_in(arrow.array(values, kind.value_type), value_set=known)
        return arrow.DictionaryArray.from_arrays(indices.cast(kind.index_type), known, ordered=kind.ordered)
    return arrow.array(values, kind)


def _salt(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Of rows that are encoded, a number that their symbols settle."""
    words = np.zeros(len(parts[0]), dtype=np.uint64)
    for symbols in parts:
        for column in symbols.T:
            words = _mixed(words ^ column.astype(np.uint64), 1)
    return np.stack((words >> np.uint64(48), (words >> np.uint64(32)) & np.uint64(_SALT - 1)), axis=1).astype(np.int64)


def _mixed(words: NDArray[np.uint64], number: int) -> NDArray[np.uint64]:
    """Other 64-bit words, spread evenly (SplitMix64's finaliser, Steele et al. 2014)."""
    words = words + np.uint64((number + 1) * 0x9E3779B97F4A7C15 % 2**64)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _note(name: str, taken: Taken, column: Column | None, cells: Any, rare: int) -> str:
    """A line of the schema."""
    what = {"constant": "kept as it is", "text": "left empty: not modelled"}.get(taken.kind, "made anew, not modelled")
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
