"""Tables as rows of cells, one for each modelled column, and back with the types and the precision that they had."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import UserError, needs_extra, unknown
from morphogen.core.model import Evidence, FieldConstraint, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.query import Query
from morphogen.core.space import Row, Space

from . import files
from .cells import cast, encode_cells, encode_combinations, members, plain
from .column_types import ColumnType
from .columns import Categories, CellCondition, Column, Numbers, Values, column_from_state
from .conditions import ALL, expand, parse_condition
from .constraint_masks import Missing, Order, Without
from .constraints import Constraint, closure, parse_constraint
from .decoding import Decoder
from .inference import infer_table
from .options import Options

Conditions = Mapping[str, CellCondition]


class TableCodec(Codec[Any]):
    """Maps Arrow tables to rows of cells and back."""

    space: Row
    batch: ClassVar[int] = 8192

    def __init__(
        self,
        schema: Any,
        column_types: Mapping[str, ColumnType],
        columns: Mapping[str, Column],
        unmodelled: Mapping[str, Any],
        notes: list[str],
        constraints: Sequence[Constraint] = (),
    ) -> None:
        """See `inference.InferredTable`; `notes` describes each column in words."""
        self.schema, self.column_types, self.columns = schema, dict(column_types), dict(columns)
        self.unmodelled, self.notes, self.constraints = dict(unmodelled), notes, list(constraints)
        self.space = Row(tuple(column.field for column in columns.values()))
        self._orders = closure([one for one in constraints if one.form == "order"])
        self._field = {member: field for field, name in enumerate(columns) for member in members(name)}
        self._name = {member: name for name in columns for member in members(name)}
        self._decoder = Decoder(schema, self.column_types, self.columns, self.unmodelled, self._orders)
        self._masks = self._constraint_masks()

    @classmethod
    def fit(cls, chunks: Iterable[Any], kind: type[Space], options: Options | None = None) -> Self:
        """Return the codec of these tables. Raises UserError on columns of a type that cannot be modelled."""
        try:
            import pyarrow as arrow
        except ImportError:
            raise needs_extra("pyarrow", "table", "reading tables") from None
        table = arrow.concat_tables(chunks).combine_chunks()
        if not table.num_rows:
            raise UserError("the table has no rows; expected at least one")
        inferred = infer_table(table, options or Options())
        return cls(
            table.schema,
            inferred.column_types,
            inferred.columns,
            inferred.unmodelled,
            inferred.notes,
            inferred.constraints,
        )

    def encode(self, items: Any) -> Tensor:
        """Return the cell of each modelled column, int64 `(B, fields)`.

        Raises UserError where a column is absent, or of another type.
        """
        cells = []
        for name, column in self.columns.items():
            if name in self.schema.names:
                cells.append(encode_cells(column, self._cast(items, name)))
            else:
                assert isinstance(column, Categories)
                cells.append(encode_combinations(column, [self._cast(items, one) for one in members(name)]))
        return torch.from_numpy(np.stack(cells, axis=1))

    def decode(self, x: Tensor, noise: Noise) -> Any:
        """Return an Arrow table."""
        return self._decoder.decode(x, noise)

    def finish(self, x: Tensor, request: Request) -> Any:
        """Return the rows of x, whose numbers meet the request's conditions to the last digit."""
        return self._decoder.decode(x, request.noise, conditions=request.parsed or {})

    def requests(self, query: Query, noise: Noise) -> Iterator[Request]:
        """Yield one request for each combination of conditions, see `conditions.expand`.

        Raises UserError on an unknown column, or a condition that no row can satisfy.
        """
        for name in query.condition:
            self._check_modelled(name)
        parsed: dict[str, tuple[Conditions, Evidence | None]] = {}
        requests = []  # all of them before the first is sampled, so that a mistake in the last one is refused at once
        start = 0
        for condition, stop in expand(query.condition, len(noise), self._values_of):
            key = repr(condition)
            if key not in parsed:
                conditions = {name: self._parse(name, value) for name, value in condition.items()}
                parsed[key] = conditions, self._evidence(conditions)
            own = Noise(noise.seeds[start:stop], noise.device)
            requests.append(Request(noise=own, evidence=parsed[key][1], parsed=parsed[key][0]))
            start = stop
        yield from requests

    def gather(self, parts: Iterable[Any]) -> Any:
        """Return one data frame of pandas or polars where the codec was fitted to such, else an Arrow table."""
        import pyarrow as arrow

        return files.to_input_type(arrow.concat_tables(parts))

    def align(self, items: Any) -> Any:
        """Return an Arrow table of a table or data frame, with the columns, their order and the types of this schema.

        An absent column is missing. Raises UserError on a column that the schema does not have.
        """
        import pyarrow as arrow

        table = files.as_table(items)
        for name in table.column_names:
            if name not in self.schema.names:
                raise unknown("column", name, self.schema.names)
        columns = [
            self._cast(table, field.name) if field.name in table.column_names else arrow.nulls(len(table), field.type)
            for field in self.schema
        ]
        return files.with_form(arrow.table(columns, schema=self.schema), files.form_of(table))

    def observe(self, items: Any, mask: Any) -> Partial:
        """Return rows of which all is known but what is missing by `mask`, bool `(B, columns of the table)`.

        Raises UserError where columns that are modelled as one are known in part.
        """
        x = self.encode(items)
        known = torch.zeros_like(x, dtype=torch.bool)
        mask, names = np.asarray(mask), self.schema.names
        for field, name in enumerate(self.columns):
            own = mask[:, [names.index(one) for one in members(name)]]
            partly = own.any(1) & ~own.all(1)
            if bool(partly.any()):
                raise UserError(
                    f"row {int(partly.argmax())} has some of {', '.join(members(name))} but not all; give all or none"
                )
            known[:, field] = torch.from_numpy(~own.any(1))
        return Partial(x, known)

    def imputation(self) -> Evidence:
        """Return the constraints, and that no imputed cell is missing unless a constraint decides so."""
        decided = {one.columns[0] for one in self.constraints if one.form == "missing"}
        present = [
            Without(self._field[name], column.field.size, column.missing_cell)
            for name, column in self.columns.items()
            if name in self.schema.names and name not in decided
        ]
        return Evidence({}, [*self._masks, *present])

    def merge_known(self, x: Tensor, noise: Noise, items: Any, mask: Any) -> Any:
        """Return the rows of x with all that is known of `items` as it was given, to the last digit."""
        import pyarrow as arrow
        import pyarrow.compute as compute

        mask = np.asarray(mask)
        known = {name: (items.column(name), ~mask[:, at]) for at, name in enumerate(self.schema.names)}
        imputed = self._decoder.decode(x, noise, known=known)
        columns = [
            compute.if_else(arrow.array(mask[:, at]), imputed.column(name), items.column(name))
            for at, name in enumerate(self.schema.names)
        ]
        return files.with_form(arrow.table(columns, schema=self.schema), files.form_of(items))

    def field_table(self, values: Tensor, like: Any) -> Any:
        """Return a table with one column of numbers for each modelled column, or combination of columns.

        It is a data frame where the aligned table `like` came as one.
        """
        import pyarrow as arrow

        names = [" + ".join(members(name)) for name in self.columns]
        table = arrow.table({name: arrow.array(values[:, field].numpy()) for field, name in enumerate(names)})
        return files.to_input_type(files.with_form(table, files.form_of(like)))

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "column_types": {name: [one.kind, one.reason, one.form] for name, one in self.column_types.items()},
            "columns": {name: {"kind": column.kind, **column.state()} for name, column in self.columns.items()},
            "unmodelled": self.unmodelled,
            "notes": self.notes,
            "constraints": [one.words for one in self.constraints],
        }, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        import pyarrow as arrow

        schema = arrow.ipc.read_schema(arrow.py_buffer(base64.b64decode(config["schema"])))
        column_types = {name: ColumnType(*one) for name, one in config["column_types"].items()}
        columns = {name: column_from_state(one, one["kind"]) for name, one in config["columns"].items()}
        constraints = [parse_constraint(words, schema) for words in config["constraints"]]
        return cls(schema, column_types, columns, config["unmodelled"], config["notes"], constraints)

    def _cast(self, items: Any, name: str) -> Any:
        """Return the column of a table, of the type that the schema has."""
        import pyarrow as arrow

        if name not in items.column_names:
            raise UserError(f"the table has no column '{name}'; it has {', '.join(items.column_names)}")
        column, kind = items.column(name).combine_chunks(), self.schema.field(name).type
        if column.type == kind:
            return column
        try:
            return cast(plain(column), kind)
        except arrow.ArrowException as error:
            raise UserError(f"column '{name}' holds {column.type}, but held {kind} in training ({error})") from None

    def _check_modelled(self, name: str) -> None:
        if name not in self.schema.names:
            raise unknown("column", name, self.schema.names)
        if name not in self._field:
            kind = self.column_types[name].kind
            raise UserError(f"column '{name}' is of kind {kind}, which is not modelled; drop the condition on it")

    def _parse(self, name: str, value: Any) -> CellCondition:
        return parse_condition(name, value, self._member(name), self.schema.field(name).type)

    def _values_of(self, name: str) -> list[Any]:
        """Return all values of a column, for the condition `all`; a category of that name is meant by itself."""
        column = self._member(name)
        if isinstance(column, Categories):
            return [ALL] if ALL in column.values else [one for one in column.values if one is not None]
        if not isinstance(column, Values):
            raise UserError(f"column '{name}' has too many values for '{ALL}'; give ranges such as 30..40")
        return list(column.units.restore(column.ordered).tolist())

    def _evidence(self, conditions: Conditions) -> Evidence | None:
        """Return the likelihood of each conditioned field, and the constraints; None where there are neither."""
        likelihoods: dict[int, Tensor] = {}
        for name, condition in conditions.items():
            field, own = self._field[name], torch.from_numpy(self._likelihood(name, condition))
            likelihoods[field] = likelihoods[field] * own if field in likelihoods else own
            if not bool(likelihoods[field].any()):
                together = ", ".join(one for one in members(self._name[name]) if one in conditions)
                raise UserError(f"no row of the training data satisfies the conditions on {together} together")
        return Evidence(likelihoods, self._masks) if likelihoods or self._masks else None

    def _member(self, name: str) -> Column:
        """Return the column; of one that is modelled with others, the column of its own values."""
        column = self.columns[self._name[name]]
        if self._name[name] == name:
            return column
        assert isinstance(column, Categories)
        values = [value[members(self._name[name]).index(name)] for value in column.values]
        return Categories(list(dict.fromkeys(values)), [1] * len(set(values)))

    def _likelihood(self, name: str, condition: CellCondition) -> NDArray[np.float32]:
        column = self.columns[self._name[name]]
        if self._name[name] == name:
            return column.likelihood(condition)
        assert isinstance(column, Categories)
        at = members(self._name[name]).index(name)
        wanted = (*(condition.values or ()), *([None] if condition.missing else []))
        return column.likelihood(CellCondition(values=tuple(value for value in column.values if value[at] in wanted)))

    def _constraint_masks(self) -> list[FieldConstraint]:
        masks: list[FieldConstraint] = []
        for (lower, higher), (strict, _) in self._orders.items():
            low, high = self.columns[lower], self.columns[higher]
            assert isinstance(low, Numbers)
            assert isinstance(high, Numbers)
            masks.append(Order((self._field[lower], low), (self._field[higher], high), strict))
        for one in self.constraints:
            if one.form == "missing":
                name, other = one.columns
                matches = self._likelihood(other, self._parse(other, one.value))
                if not np.isin(matches, (0, 1)).all():
                    raise UserError(f"'{one.words}' needs a more frequent value: '{one.value}' has no cell of its own")
                column = (self._field[name], self.columns[name].field.size)
                masks.append(Missing(column, (self._field[other], matches > 0), one.unless))
                if isinstance(deciding := self.columns[other], Categories):
                    # A rare value is decoded as any frequent one, which may be this one.
                    masks.append(Without(self._field[other], deciding.field.size, deciding.rare_cell))
        return masks
