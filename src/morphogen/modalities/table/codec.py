"""Tables as symbols: each row those of its columns, in their order, and two more that nothing is learned of."""

from __future__ import annotations

import base64
import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.codec import Asked, RowCodec
from morphogen.core.config import read_toml
from morphogen.core.errors import UserError, needs_extra, unknown
from morphogen.core.model import Evidence, Limit, Partial
from morphogen.core.space import Space, Tokens

from . import files, personal
from .asked import read_wanted
from .columns import Bins, Categories, Column, Numbers, Wanted, find_column, restored
from .constraints import Constraint, closure, contradictions, read, verify
from .kinds import Taken, infer
from .limits import Missing, Order, Present, ordered
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
        constraints: Sequence[Constraint] = (),
    ) -> None:
        """`columns` by name, or by the names of several, as JSON, that are one; `extra` holds what is not modelled."""
        self.schema, self.taken, self.columns, self.extra, self.notes = schema, taken, columns, extra, notes
        self.constraints = list(constraints)
        self._orders = closure([one for one in constraints if one.form == "order"])
        self.parts = tuple(len(column.alphabets) for column in columns.values())
        alphabets = tuple(size for column in columns.values() for size in column.alphabets)
        begins = [0, *accumulate(self.parts)]
        self._begin = dict(zip(columns, begins, strict=False))
        self._of = {member: name for name in columns for member in members(name)}
        self.limits = self._limits()
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
        constraints = [read(words, table.schema) for words in options.constraints]
        contradictions(constraints)
        for one in constraints:
            verify(one, table)
        asked |= {name: "key" for one in constraints if one.form == "unique" for name in one.columns}
        rare = _rare(options, table.num_rows)
        together = {
            name: one.columns for one in constraints if one.form in ("fixed", "one-hot") for name in one.columns
        }
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
            for name in one.columns if one.form in ("order", "sum", "missing") else ():
                if name not in columns and taken[name].kind != "sum":
                    raise UserError(f"'{one.words}' is about column '{name}', which is taken for {taken[name].kind}")
        notes = [_note(name, one, columns.get(name), table.column(name)) for name, one in taken.items()]
        notes += [f"  {one.words}: obeyed by all rows" for one in constraints]
        return cls(table.schema, taken, columns, extra, notes, constraints)

    def encode(self, items: Any) -> Tensor:
        """`(B, positions)` int64. Raises UserError where a column is absent, or of another type."""
        parts = []
        for name, column in self.columns.items():
            if name in self.schema.names:
                values, missing = _values(column, self._cells(items, name))
            else:
                values = list(zip(*(_plain(self._cells(items, one)).to_pylist() for one in members(name)), strict=True))
                missing = np.zeros(len(values), dtype=np.bool_)
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
        for name, size in zip(self.columns, self.parts, strict=True):
            own = holes[:, [names.index(one) for one in members(name)]]
            if bool((own.any(1) & ~own.all(1)).any()):
                row = int((own.any(1) & ~own.all(1)).argmax())
                raise UserError(
                    f"row {row} has some of {', '.join(members(name))} and lacks others; give all of these, or none"
                )
            known[:, position : position + size] = torch.from_numpy(~own.any(1))[:, None]
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

    def pasted(self, x: Tensor, items: Any, holes: Any) -> Any:
        """The rows `x` with all that was known as it was given, to the last digit."""
        import pyarrow as arrow
        import pyarrow.compute as compute

        holes = np.asarray(holes)
        drawn = self._decoded(x.detach().cpu().numpy(), 0, {}, (items, holes))
        columns = [
            compute.if_else(arrow.array(holes[:, number]), drawn.column(name), items.column(name))
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
            if name not in self._of:
                raise UserError(f"column '{name}' is taken for {self.taken[name].kind}, which is not modelled; drop it")
            column = self._member(name)
            wanted[name] = read_wanted(name, value, column, self.schema.field(name).type)
        found: dict[int, Tensor] = {}
        for name, one in wanted.items():
            begin = self._begin[self._of[name]]
            for number, chances in enumerate(self._chances(name, one)):
                before = found.get(begin + number)
                found[begin + number] = (
                    torch.from_numpy(chances) if before is None else before * torch.from_numpy(chances)
                )
        return Asked(wanted, Evidence(found, self.limits))

    def filling(self) -> Evidence:
        """Constraints, and that no cell is left missing but where one of them has it so."""
        decided = {one.columns[0] for one in self.constraints if one.form == "missing"}
        open_ = [name for name in self.columns if name in self.schema.names and name not in decided]
        present = [Present(self._begin[name], self.columns[name].alphabets[0] - 1) for name in open_]
        return Evidence({}, [*self.limits, *present])

    def _member(self, name: str) -> Column:
        """The column, or of one of several that are one, what its own values are."""
        column = self.columns[self._of[name]]
        if self._of[name] == name:
            return column
        assert isinstance(column, Categories)
        at = members(self._of[name]).index(name)
        own = [value[at] for value in column.values]
        return Categories(list(dict.fromkeys(own)), [1] * len(set(own)))

    def _chances(self, name: str, wanted: Wanted) -> list[NDArray[np.float32]]:
        column = self.columns[self._of[name]]
        if self._of[name] == name:
            return column.chances(wanted)
        assert isinstance(column, Categories)
        at = members(self._of[name]).index(name)
        kept = tuple(
            value
            for value in column.values
            if value[at] in (wanted.values or ()) or (wanted.missing and value[at] is None)
        )
        return column.chances(Wanted(values=kept))

    def _limits(self) -> list[Limit]:
        """What holds between columns while rows are drawn."""
        found: list[Limit] = []
        for (lower, higher), (strict, _) in self._orders.items():
            low, high = self.columns[lower], self.columns[higher]
            assert isinstance(low, Numbers)
            assert isinstance(high, Numbers)
            found.append(Order((self._begin[lower], low), (self._begin[higher], high), strict))
        for one in self.constraints:
            if one.form == "missing":
                name, other = one.columns
                decides = self._member(other)
                wanted = read_wanted(other, one.value, decides, self.schema.field(other).type)
                column = (self._begin[name], self.columns[name].alphabets[0] - 1)
                meets = (self._begin[self._of[other]], self._chances(other, wanted)[0] > 0)
                found.append(Missing(column, meets, one.unless))
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "taken": {name: [one.kind, one.why, one.form] for name, one in self.taken.items()},
            "columns": {name: {"is": column.kind, **column.state()} for name, column in self.columns.items()},
            "extra": self.extra,
            "notes": self.notes,
            "constraints": [one.words for one in self.constraints],
        }, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        import pyarrow as arrow

        schema = arrow.ipc.read_schema(arrow.py_buffer(base64.b64decode(config["schema"])))
        taken = {name: Taken(*one) for name, one in config["taken"].items()}
        columns = {name: restored(one, one["is"]) for name, one in config["columns"].items()}
        constraints = [read(words, schema) for words in config["constraints"]]
        return cls(schema, taken, columns, config["extra"], config["notes"], constraints)

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

    def _decoded(
        self, x: NDArray[np.int64], first: int, wanted: Mapping[str, Any], given: tuple[Any, Any] | None = None
    ) -> Any:
        """The table of rows of symbols; `given` are rows and their holes, outside of which their numbers stand."""
        import pyarrow as arrow
        import pyarrow.compute as compute

        salt = x[:, -2].astype(np.uint64) * np.uint64(_SALT) + x[:, -1].astype(np.uint64)
        words = {name: _mixed(salt, number) for number, name in enumerate(self.schema.names)}
        made: dict[str, Any] = {}
        numbers: dict[str, _Drawn] = {}
        for name, column in self.columns.items():
            begin = self._begin[name]
            symbols = x[:, begin : begin + len(column.alphabets)]
            inside = (words[members(name)[0]] >> np.uint64(11)).astype(np.float64) * 2.0**-53
            values, missing = column.decode(symbols, inside)
            if isinstance(column, Numbers):
                fixed = np.zeros(len(x), dtype=np.bool_)
                if given is not None:
                    exact, gone = to_numbers(self._cells(given[0], name))
                    fixed = ~given[1][:, self.schema.names.index(name)] & ~gone
                    values = np.where(fixed, exact, values)
                numbers[name] = _Drawn(column, symbols, inside, values, missing, fixed)
            elif name in self.schema.names:
                made[name] = _column_of(values, missing, column, self.schema.field(name).type)
            else:
                for at, one in enumerate(members(name)):
                    kind = self.schema.field(one).type
                    cells = np.array([value[at] for value in values], dtype=object)
                    made[one] = arrow.array(cells.tolist(), _plain_type(kind)).cast(kind)
        self._settle(numbers, wanted)
        for name, drawn in numbers.items():
            made[name] = to_column(drawn.values, drawn.missing, self.schema.field(name).type)
        for name in self.schema.names:
            if self.taken[name].kind == "sum":
                total = made[self.extra[name][0]]
                for part in self.extra[name][1:]:
                    total = compute.add(total, made[part])
                made[name] = total.cast(self.schema.field(name).type, safe=False)
        columns = [
            made[field.name] if field.name in made else self._made(field.name, field.type, words[field.name], first)
            for field in self.schema
        ]
        return arrow.table(columns, schema=self.schema)

    def _settle(self, numbers: dict[str, _Drawn], wanted: Mapping[str, Any]) -> None:
        """Numbers are moved within their cells to where conditions and the order of columns are met."""
        ends = {}
        for name in {*wanted, *(name for pair in self._orders for name in pair)} & set(numbers):
            one = numbers[name]
            low, high = one.column.bounds(one.symbols)
            low, high = (np.where(one.fixed, one.values, end) for end in (low, high))
            asked = wanted.get(name, Wanted())
            low = np.maximum(low, -np.inf if asked.low is None else asked.low)
            ends[name] = low, np.minimum(high, np.inf if asked.high is None else asked.high)
        pairs = {pair: strict for pair, (strict, _) in self._orders.items()}
        ends = ordered(ends, pairs)
        # The lowest first, for what is higher has to leave it below.
        for name in sorted(ends, key=lambda name: sum(higher == name for _, higher in pairs)):
            one, (low, high) = numbers[name], ends[name]
            for (lower, higher), strict in pairs.items():
                if higher == name:
                    below = np.where(numbers[lower].missing, -np.inf, numbers[lower].values.astype(np.float64))
                    low = np.fmax(low, np.nextafter(below, np.inf) if strict else below)
            if isinstance(one.column, Bins):
                moved = one.column.within(one.values, one.symbols, one.inside, low, high)
                one.values = np.where(one.fixed, one.values, moved)
        # Where one is given, the other's cell may end a little too soon.
        for (lower, higher), strict in pairs.items():
            a, b = numbers[lower], numbers[higher]
            there = ~a.missing & ~b.missing
            b.values = np.where(there & ~b.fixed, np.maximum(b.values, _next(a.values, strict, 1)), b.values)
            a.values = np.where(there & ~a.fixed, np.minimum(a.values, _next(b.values, strict, -1)), a.values)

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


@dataclass
class _Drawn:
    """The cells of a column of numbers, while they may still be moved."""

    column: Numbers
    symbols: NDArray[np.int64]
    inside: NDArray[np.float64]
    values: NDArray[Any]
    missing: NDArray[np.bool_]
    fixed: NDArray[np.bool_]  # given, and not to be moved


def _next(values: NDArray[Any], strict: bool, sign: int) -> NDArray[Any]:
    """The values themselves or, strictly, the next ones up or down."""
    if not strict:
        return values
    return values + sign if values.dtype.kind == "i" else np.nextafter(values, sign * np.inf)


def members(name: str) -> list[str]:
    """The columns of a table that one of the codec stands for."""
    if not name.startswith('["'):
        return [name]
    try:
        found = json.loads(name)
    except ValueError:
        return [name]
    return found if isinstance(found, list) and len(found) > 1 else [name]


def _combined(table: Any, names: Sequence[str], rare: int) -> Categories:
    """The combinations of values that are found, as categories."""
    rows = Counter(zip(*(_plain(table.column(name)).to_pylist() for name in names), strict=True))
    often = [(value, count) for value, count in rows.most_common() if count >= rare] or rows.most_common(1)
    return Categories([value for value, _ in often], [count for _, count in often])


def _plain_type(kind: Any) -> Any:
    import pyarrow.types as types

    return kind.value_type if types.is_dictionary(kind) else kind


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
