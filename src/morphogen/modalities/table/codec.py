"""Tables as symbols: each row those of its columns, in their order, and two more that nothing is learned of.

Or, for families that model numbers, these symbols as numbers: see `dense`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.codec import Asked, RowCodec
from morphogen.core.errors import UserError, needs_extra, unknown
from morphogen.core.model import Evidence, Limit, Partial
from morphogen.core.space import Continuous, Space, Tokens

from . import files, personal
from .asked import read_wanted
from .cells import column_of, members, plain, plain_type, values_of
from .columns import Categories, Column, Numbers, Values, Wanted, restored
from .constraints import Constraint, closure, read
from .dense import Dense, count_symbols
from .kinds import Taken
from .limits import Missing, Order, Present
from .options import Options
from .salt import ALPHABET, COUNT, mixed, salt_of
from .settle import Drawn, settle
from .survey import survey
from .units import to_column, to_numbers

ALL = "all"  # what a column is asked to be, that its values take turns


class TableCodec(RowCodec[Any]):
    """Arrow tables to symbols and back, with the schema, the order and the precision that they had.

    A row's last symbols are salt: drawn evenly, they settle what the others leave open. With `dense`, symbols are
    numbers outside.
    """

    space: Tokens | Continuous
    spaces = (Tokens, Continuous)
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
        dense: Dense | None = None,
    ) -> None:
        """`columns` by name, or by the names of several, as JSON, that are one; `extra` holds what is not modelled."""
        self.dense = dense
        self.schema, self.taken, self.columns, self.extra, self.notes = schema, taken, columns, extra, notes
        self.constraints = list(constraints)
        self._orders = closure([one for one in constraints if one.form == "order"])
        self.parts = tuple(len(column.alphabets) for column in columns.values())
        alphabets = tuple(size for column in columns.values() for size in column.alphabets)
        begins = [0, *accumulate(self.parts)]
        self._begin = dict(zip(columns, begins, strict=False))
        self._of = {member: name for name in columns for member in members(name)}
        self.limits = self._limits()
        symbols = Tokens((*alphabets, *[ALPHABET] * COUNT), (len(alphabets) + COUNT,), parts=self.parts, even=COUNT)
        self.space = symbols if dense is None else dense.space

    @classmethod
    def fit(cls, chunks: Iterable[Any], kind: type[Space], options: Options | None = None) -> Self:
        """The codec of these tables; `notes` is the schema in words. Raises UserError on columns that nothing fits."""
        options = options or Options()
        try:
            import pyarrow as arrow
        except ImportError:
            raise needs_extra("pyarrow", "table", "reading tables") from None
        table = arrow.concat_tables(chunks).combine_chunks()
        if not table.num_rows:
            raise UserError("the table has no rows; expected at least one")
        found = survey(table, options)
        surveyed = table.schema, found.taken, found.columns, found.extra, found.notes, found.constraints
        codec = cls(*surveyed)
        if kind is Tokens:
            return codec
        columns = list(found.columns.values())
        return cls(*surveyed, Dense(columns, count_symbols(columns, codec.symbols(table))))

    def encode(self, items: Any) -> Tensor:
        """`(B, *space.shape)`. Raises UserError where a column is absent, or of another type."""
        symbols = self.symbols(items)
        return torch.from_numpy(symbols) if self.dense is None else self.dense.encode(symbols)

    def symbols(self, items: Any) -> NDArray[np.int64]:
        """`(B, positions)`. Raises UserError where a column is absent, or of another type."""
        parts = []
        for name, column in self.columns.items():
            if name in self.schema.names:
                values, missing = values_of(column, self._cells(items, name))
            else:
                values = list(zip(*(plain(self._cells(items, one)).to_pylist() for one in members(name)), strict=True))
                missing = np.zeros(len(values), dtype=np.bool_)
            parts.append(column.encode(values, missing))
        return np.concatenate([*parts, salt_of(parts)], axis=1)

    def sizes(self, items: Any) -> Tensor:
        """The symbols of a row but the salt, of which nothing is learned."""
        return torch.full((len(items),), sum(self.parts))

    def decode(self, x: Tensor) -> Any:
        """An Arrow table."""
        return self._decoded(self._symbols_of(x), 0, {})

    def _symbols_of(self, x: Tensor) -> NDArray[np.int64]:
        return x.detach().cpu().numpy() if self.dense is None else self.dense.decode(x)

    def decode_asked(self, x: Tensor, asked: Asked, first: int) -> Any:
        """The same of rows drawn under a condition, which numbers meet to the last digit."""
        return self._decoded(self._symbols_of(x), first, asked.wanted)

    def observe(self, items: Any, holes: Any) -> Partial:
        """The rows of which all but the `holes`, bool `(B, columns of the table)`, are known."""
        if self.dense is not None:
            raise UserError("rows as numbers cannot be given in part; fit autoregressive")
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
        drawn = self._decoded(self._symbols_of(x), 0, {}, (items, holes))
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

    def turns(self, condition: Mapping[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{}]
        for name, value in condition.items():
            values = [value]
            if value == ALL and name in self._of:
                column = self._member(name)
                if isinstance(column, Categories) and ALL not in column.values:
                    values = [one for one in column.values if one is not None]
                elif isinstance(column, Values):
                    there = np.zeros(len(column.ordered), dtype=np.bool_)
                    kind = self.schema.field(name).type
                    values = to_column(column.units.restore(column.ordered), there, kind).to_pylist()
                elif not isinstance(column, Categories):
                    raise UserError(f"column '{name}' has numbers without end, and no turn for each; give ranges")
            found = [{**turn, name: one} for turn in found for one in values]
        return found

    def of_columns(self, values: Tensor) -> Any:
        """An Arrow table of one column for each that is modelled; several that are one have the names of all."""
        import pyarrow as arrow

        names = [" + ".join(members(name)) for name in self.columns]
        return arrow.table({name: arrow.array(values[:, number].numpy()) for number, name in enumerate(names)})

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
        }, {} if self.dense is None else self.dense.state()

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        import pyarrow as arrow

        schema = arrow.ipc.read_schema(arrow.py_buffer(base64.b64decode(config["schema"])))
        taken = {name: Taken(*one) for name, one in config["taken"].items()}
        columns = {name: restored(one, one["is"]) for name, one in config["columns"].items()}
        constraints = [read(words, schema) for words in config["constraints"]]
        dense = Dense.restored(list(columns.values()), tensors) if tensors else None
        return cls(schema, taken, columns, config["extra"], config["notes"], constraints, dense)

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

        salt = x[:, -2].astype(np.uint64) * np.uint64(ALPHABET) + x[:, -1].astype(np.uint64)
        words = {name: mixed(salt, number) for number, name in enumerate(self.schema.names)}
        made: dict[str, Any] = {}
        numbers: dict[str, Drawn] = {}
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
                numbers[name] = Drawn(column, symbols, inside, values, missing, fixed)
            elif name in self.schema.names:
                made[name] = column_of(values, missing, column, self.schema.field(name).type)
            else:
                for at, one in enumerate(members(name)):
                    kind = self.schema.field(one).type
                    cells = np.array([value[at] for value in values], dtype=object)
                    made[one] = arrow.array(cells.tolist(), plain_type(kind)).cast(kind)
        settle(numbers, wanted, self._orders)
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
