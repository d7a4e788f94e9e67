"""Conditions and constraints of rows as evidence on the fields of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.errors import UserError, unknown
from morphogen.core.model import Evidence, FieldConstraint

from .categories import Categories
from .cells import members
from .column import CellCondition, Column
from .column_types import ColumnType
from .columns import Numbers, Values
from .conditions import ALL, parse_condition
from .constraint_masks import DifferenceMissing, Missing, Order, Without
from .constraints import Constraint
from .date_parts import Clock, DatePartColumn
from .differences import DifferenceColumn, step_in_words
from .formats.form import form_of

Conditions = Mapping[str, CellCondition]


class RowConditions:
    """Parses conditions on columns of one schema, and says which cells satisfy them."""

    def __init__(
        self,
        schema: Any,
        column_types: Mapping[str, ColumnType],
        columns: Mapping[str, Column],
        constraints: Sequence[Constraint],
        orders: Mapping[tuple[str, str], tuple[bool, str]],
    ) -> None:
        """`orders` is the transitive closure of the constraints that are orders (see `constraints.closure`)."""
        self._schema, self._formats = schema, form_of(schema).columns
        self._column_types, self._columns, self._constraints = column_types, columns, constraints
        own = [
            (field, name)
            for field, (name, column) in enumerate(columns.items())
            if not isinstance(column, (DatePartColumn, DifferenceColumn))
        ]
        self._field = {member: field for field, name in own for member in members(name)}
        self._name = {member: name for _, name in own for member in members(name)}
        self._masks = self._constraint_masks(orders)

    def check_modelled(self, name: str) -> None:
        """Raise UserError where there is no such column, or it is not modelled."""
        if name not in self._schema.names:
            raise unknown("column", name, self._schema.names)
        if name not in self._field:
            kind = self._column_types[name].kind
            raise UserError(f"column '{name}' is of kind {kind}, which is not modelled; drop the condition on it")

    def parse(self, name: str, value: Any) -> CellCondition:
        """Return the condition on a column that a user wrote; see `conditions.parse_condition`."""
        return parse_condition(name, value, self._member(name), self._schema.field(name).type, self._formats.get(name))

    def values_of(self, name: str) -> list[Any]:
        """Return all values of a column, for the condition `all`; a category of that name is meant by itself."""
        column = self._member(name)
        if isinstance(column, Categories):
            return [ALL] if ALL in column.values else [one for one in column.values if one is not None]
        if not isinstance(column, Values):
            raise UserError(f"column '{name}' has too many values for '{ALL}'; give ranges such as 30..40")
        return [CellCondition(values=(value,)) for value in column.units.restore(column.ordered).tolist()]

    def evidence(self, conditions: Conditions) -> Evidence | None:
        """Return the likelihood of each conditioned field, and the constraints; None where there are neither."""
        likelihoods: dict[int, Tensor] = {}
        for name, condition in conditions.items():
            field, own = self._field[name], torch.from_numpy(self._likelihood(name, condition))
            likelihoods[field] = likelihoods[field] * own if field in likelihoods else own
            if not bool(likelihoods[field].any()):
                together = ", ".join(one for one in members(self._name[name]) if one in conditions)
                raise UserError(f"no row of the training data satisfies the conditions on {together} together")
            likelihoods |= self._likelihoods_of_parts(name, condition)
        likelihoods |= self._likelihoods_of_differences(conditions)
        if not likelihoods and not self._masks:
            return None
        return Evidence(likelihoods, [*self._masks, *self._difference_masks(set())])

    def _likelihoods_of_parts(self, name: str, condition: CellCondition) -> dict[int, Tensor]:
        """Return the likelihood of each part of a date that a condition on the date leaves no choice, or less."""
        likelihoods = {}
        for field, part in enumerate(self._columns.values()):
            if isinstance(part, DatePartColumn) and part.of == name:
                column, clock = self._columns[name], self._clock(name)
                assert isinstance(column, Numbers)
                own = part.likelihood_of_dates(condition, column, clock)
                if condition.missing or not own[: part.missing_cell].all():
                    likelihoods[field] = torch.from_numpy(own)
        return likelihoods

    def _likelihoods_of_differences(self, conditions: Conditions) -> dict[int, Tensor]:
        """Return the likelihood of each difference of dates that conditions on both leave no choice, or less.

        Raises UserError where no difference is left.
        """
        likelihoods = {}
        for field, column in enumerate(self._columns.values()):
            if not isinstance(column, DifferenceColumn):
                continue
            pair = column.of, column.reference
            clocks = self._clock(pair[0]), self._clock(pair[1])
            own = column.likelihood_of_dates(conditions.get(pair[0]), conditions.get(pair[1]), clocks)
            if own is not None and not own.any():
                least, most = column.numbers.ranges()[[0, column.field.ordered - 1], [0, 1]].astype(int)
                unit = step_in_words(column, clocks[0])
                steps = (
                    f" ({least:,} to {most:,} steps of {unit})" if unit != "days" else f" ({least:,} to {most:,} days)"
                )
                raise UserError(
                    f"no row has the wanted '{pair[0]}' so far from the wanted '{pair[1]}'{steps}; relax the conditions"
                )
            if own is not None:
                likelihoods[field] = torch.from_numpy(own)
        return likelihoods

    def _clock(self, name: str) -> Clock:
        clock = Clock.of(self._schema.field(name).type)
        assert clock is not None
        return clock

    def imputation(self) -> Evidence:
        """Return the constraints, and that an imputed cell is not rare, nor missing unless a constraint says so."""
        decided = {one.columns[0] for one in self._constraints if one.form == "missing"}
        present = [
            Without(field, column.field.size, column.missing_cell)
            for field, (name, column) in enumerate(self._columns.items())
            if (column.of if isinstance(column, DatePartColumn) else name) in set(self._schema.names) - decided
            and not isinstance(column, DifferenceColumn)
        ]
        frequent = [
            Without(field, column.field.size, column.rare_cell)
            for field, column in enumerate(self._columns.values())
            if isinstance(column, Categories) and column.values
        ]
        return Evidence(
            {}, [*self._masks, *present, *frequent, *self._difference_masks(set(self._schema.names) - decided)]
        )

    def _member(self, name: str) -> Column:
        """Return the column; of one that is modelled with others, the column of its own values."""
        column = self._columns[self._name[name]]
        if self._name[name] == name:
            return column
        assert isinstance(column, Categories)
        values = [value[members(self._name[name]).index(name)] for value in column.values]
        return Categories(list(dict.fromkeys(values)), [1] * len(set(values)))

    def _likelihood(self, name: str, condition: CellCondition) -> NDArray[np.float32]:
        column = self._columns[self._name[name]]
        if self._name[name] == name:
            return column.likelihood(condition)
        assert isinstance(column, Categories)
        at = members(self._name[name]).index(name)
        wanted = (*(condition.values or ()), *([None] if condition.missing else []))
        return column.likelihood(CellCondition(values=tuple(value for value in column.values if value[at] in wanted)))

    def _difference_masks(self, present: set[str]) -> list[FieldConstraint]:
        """Return when differences of dates are missing; unknown dates of the columns `present` are not."""
        masks: list[FieldConstraint] = []
        for field, column in enumerate(self._columns.values()):
            if isinstance(column, DifferenceColumn):
                pair = column.of, column.reference
                dates = self._field[pair[0]], self._field[pair[1]]
                missing = self._columns[pair[0]].missing_cell, self._columns[pair[1]].missing_cell
                own = (field, column.field.size)
                masks.append(DifferenceMissing(own, dates, missing, known=set(pair) <= present))
        return masks

    def _constraint_masks(self, orders: Mapping[tuple[str, str], tuple[bool, str]]) -> list[FieldConstraint]:
        masks: list[FieldConstraint] = []
        for (lower, higher), (strict, _) in orders.items():
            low, high = self._columns[lower], self._columns[higher]
            assert isinstance(low, Numbers)
            assert isinstance(high, Numbers)
            masks.append(Order((self._field[lower], low), (self._field[higher], high), strict))
        for one in self._constraints:
            if one.form == "missing":
                name, other = one.columns
                matches = self._likelihood(other, self.parse(other, one.value))
                if not np.isin(matches, (0, 1)).all():
                    raise UserError(f"'{one.words}' needs a more frequent value: '{one.value}' has no cell of its own")
                column = (self._field[name], self._columns[name].field.size)
                masks.append(Missing(column, (self._field[other], matches > 0), one.unless))
        return masks
