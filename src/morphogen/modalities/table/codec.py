"""Tables as rows of cells, one for each modelled column, and back with the types and the precision that they had."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import UserError, needs_extra, one_line, unknown
from morphogen.core.model import Evidence, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.query import Query
from morphogen.core.space import Row, Space

from . import files
from .categories import Categories
from .cells import cast, encode_cells, encode_combinations, encode_date_part, encode_difference, members, plain
from .column import Column
from .column_state import column_from_state
from .column_types import ColumnType
from .conditions import expand
from .constraints import Constraint, closure, parse_constraint
from .date_parts import DatePartColumn
from .decoding import Decoder
from .differences import DifferenceColumn
from .formats.column import ColumnFormat, Unreadable
from .formats.convert import convert, format_after
from .inference import infer_table
from .labels import without_rare_labels
from .notes import stored_values
from .options import Options
from .row_conditions import Conditions, RowConditions
from .schema_file import formats_in_words, read_schema, to_toml
from .state import check_state


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
        orders = closure([one for one in constraints if one.form == "order"])
        self._formats, self._container = files.form_of(schema).columns, files.form_of(schema).container
        self._decoder = Decoder(schema, self.column_types, self.columns, self.unmodelled, orders)
        self._conditions = RowConditions(schema, self.column_types, self.columns, self.constraints, orders)

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
        options = options or Options()
        if options.schema_file is not None:
            table = _rewritten(table, read_schema(options.schema_file, table.column_names).formats)
        inferred = infer_table(table, options)
        written = formats_in_words(files.form_of(table).columns)
        return cls(
            without_rare_labels(table.schema, inferred.columns),
            inferred.column_types,
            inferred.columns,
            inferred.unmodelled,
            [*inferred.notes, *written],
            inferred.constraints,
        )

    def stored_data(self) -> Sequence[str]:
        return stored_values(self.column_types, self.columns)

    def encode(self, items: Any) -> Tensor:
        """Return the cell of each modelled column, int64 `(B, fields)`.

        Raises UserError where a column is absent, or of another type.
        """
        cells = []
        for name, column in self.columns.items():
            if isinstance(column, DatePartColumn):
                cells.append(encode_date_part(column, self.columns[column.of], self._cast(items, column.of)))
            elif isinstance(column, DifferenceColumn):
                pair = column.of, column.reference
                own = self.columns[pair[0]], self.columns[pair[1]]
                cells.append(encode_difference(column, own, *(self._cast(items, one) for one in pair)))
            elif name in self.schema.names:
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
            self._conditions.check_modelled(name)
        parsed: dict[str, tuple[Conditions, Evidence | None]] = {}
        requests = []  # all of them before the first is sampled, so that a mistake in the last one is refused at once
        start = 0
        for condition, stop in expand(query.condition, len(noise), self._conditions.values_of):
            key = repr(condition)
            if key not in parsed:
                conditions = {name: self._conditions.parse(name, value) for name, value in condition.items()}
                parsed[key] = conditions, self._conditions.evidence(conditions)
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

        An absent column is missing; the index of a data frame stands behind the columns. Raises UserError on a column
        that the schema does not have.
        """
        import pyarrow as arrow

        table = files.as_table(items, with_index=True)
        form, index = files.form_of(table), files.form_of(table).labels.index
        for name in files.data_names(table):
            if name not in self.schema.names:
                raise unknown("column", name, self.schema.names)
        columns, formats = [], {}
        for field in self.schema:
            if field.name in table.column_names:
                columns.append(self._cast(table, field.name))
                written = form.columns.get(field.name), self._formats.get(field.name)
                own = format_after(table.column(field.name), *written)
            else:
                columns.append(arrow.nulls(len(table), field.type))
                own = self._formats.get(field.name) if form.container == self._container else None
            if own is not None:
                formats[field.name] = own
        aligned = arrow.table(columns, schema=self.schema)
        for name in index:
            aligned = aligned.append_column(name, table.column(name))
        return files.with_form(aligned, files.with_columns(form, formats))

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
            column = self.columns[name]
            if isinstance(column, DifferenceColumn):
                known[:, field] &= torch.from_numpy(~mask[:, names.index(column.reference)])
            if isinstance(column, Categories) and column.pseudonyms:  # who stands behind a pseudonym is not stored
                known[:, field] &= x[:, field] != column.rare_cell
        return Partial(x, known)

    def imputation(self) -> Evidence:
        return self._conditions.imputation()

    def merge_known(self, x: Tensor, noise: Noise, items: Any, mask: Any) -> Any:
        """Return the rows of x with all that is known of `items` as it was given, to the last digit."""
        import pyarrow as arrow
        import pyarrow.compute as compute

        mask = np.asarray(mask)
        known = {name: (items.column(name), ~mask[:, at]) for at, name in enumerate(self.schema.names)}
        imputed = self._decoder.decode(x, noise, known=known)
        # Whoever is missing stays so: an invented person is no imputation.
        mask = mask & np.array([not isinstance(self.unmodelled.get(name), dict) for name in self.schema.names])
        columns = [
            compute.if_else(arrow.array(mask[:, at]), plain(imputed.column(name)), plain(items.column(name)))
            for at, name in enumerate(self.schema.names)
        ]
        columns = [cast(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        merged = arrow.table(columns, schema=self.schema)
        form = files.form_of(items)
        for name in form.labels.index:
            merged = merged.append_column(name, items.column(name))
        return files.with_form(merged, form)

    def field_table(self, values: Tensor, like: Any) -> Any:
        """Return a table with one column of numbers for each modelled column, or combination of columns.

        Numbers of the parts of a date, and of its distance from another one, are added to those of its column. It is a
        data frame where the aligned table `like` came as one.
        """
        import pyarrow as arrow

        columns: dict[str, Tensor] = {}
        for field, name in enumerate(self.columns):
            title, own = " + ".join(members(name)), values[:, field]
            columns[title] = columns[title] + own if title in columns else own
        table = arrow.table({title: arrow.array(own.numpy()) for title, own in columns.items()})
        return files.to_input_type(files.with_rows_of(table, like))

    def schema_text(self) -> str:
        return to_toml(self.column_types, self._formats)

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

        check_state(config)
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
        kind, own = self.schema.field(name).type, files.form_of(items).columns.get(name)
        try:
            column = convert(items.column(name).combine_chunks(), own, self._formats.get(name), kind)
            return column if column.type == kind else cast(plain(column), kind)
        except Unreadable as error:
            raise UserError(f"column '{name}' holds {error}, as in training; correct it") from None
        except arrow.ArrowException as error:
            held = items.column(name).type
            raise UserError(f"column '{name}' holds {held}, but held {kind} in training ({one_line(error)})") from None


def _rewritten(table: Any, formats: Mapping[str, ColumnFormat]) -> Any:
    """Return a table with some columns read in other formats. Raises UserError on a cell that has another one."""
    form = files.form_of(table)
    for name, target in formats.items():
        try:
            column = convert(table.column(name), form.columns.get(name), target, table.schema.field(name).type)
        except Unreadable as error:
            raise UserError(f"column '{name}' holds {error}; correct the format") from None
        table = table.set_column(table.column_names.index(name), name, column)
    return files.with_form(table, files.with_columns(form, {**form.columns, **formats}))
