"""Rows of cells to Arrow tables: what cells leave open is drawn from each row's own noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.noise import Noise

from .categories import Categories
from .cells import cast, category_array, members, plain_type
from .column import CellCondition, Column
from .column_types import ColumnType
from .columns import Bins, Numbers
from .date_parts import Clock, DatePartColumn, Wishes
from .differences import DifferenceColumn, dated_cells
from .following_dates import Following
from .generated import typed
from .personal.make import make_columns
from .personal.recipe import Recipe
from .repair import NumberColumn, repair
from .units import to_column, to_numbers

Known = Mapping[str, tuple[Any, NDArray[np.bool_]]]  # by column: an Arrow array, and where it is known


@dataclass(frozen=True)
class Decoder:
    """Turns cells into tables of one schema."""

    schema: Any
    column_types: Mapping[str, ColumnType]
    columns: Mapping[str, Column]
    unmodelled: Mapping[str, Any]
    orders: Mapping[tuple[str, str], tuple[bool, str]]

    @cached_property
    def _recipes(self) -> dict[str, Recipe]:
        return {name: Recipe.from_state(one) for name, one in self.unmodelled.items() if isinstance(one, dict)}

    def decode(
        self,
        x: Tensor,
        noise: Noise,
        *,
        conditions: Mapping[str, CellCondition] | None = None,
        known: Known | None = None,
    ) -> Any:
        """Return the Arrow table of cells x `(B, fields)`, one row for each seed.

        Numbers satisfy the conditions and the order constraints, beside those that are `known`.
        """
        import pyarrow as arrow

        cells = x.detach().cpu().numpy()
        # Two 32-bit words for each column of the table: whatever a row needs, it takes from its own seed.
        pairs = noise.words("table", 2 * len(self.schema.names)).numpy().astype(np.uint64)
        random = pairs[:, ::2] << np.uint64(32) | pairs[:, 1::2]
        words = dict(zip(self.schema.names, random.T, strict=True))
        numbers: dict[str, NumberColumn] = {}
        arrays: dict[str, Any] = {}
        made = make_columns(self._recipes, words, noise.seeds.tolist())
        wishes = self._wishes(cells)
        following = self._following(cells, wishes)
        for (name, column), own in zip(self.columns.items(), cells.T, strict=True):
            if isinstance(column, (DatePartColumn, DifferenceColumn)):
                continue
            inside = (words[members(name)[0]] >> np.uint64(11)).astype(np.float64) * 2.0**-53
            if isinstance(column, Numbers):
                numbers[name] = self._numbers(name, column, own, inside, known, wishes.get(name))
                numbers[name].following = following.get(name)
            else:
                assert isinstance(column, Categories)
                arrays |= (
                    self._pseudonyms(name, column, own, made) if name in made else self._categories(name, column, own)
                )
        repair(numbers, conditions or {}, self.orders)
        for name, one in numbers.items():
            arrays[name] = to_column(one.values, one.missing, self.schema.field(name).type)
        for name in self.schema.names:
            if name not in arrays and self.column_types[name].kind != "sum":
                own_type = self.schema.field(name).type
                arrays[name] = (
                    cast(typed(made[name], own_type), own_type) if name in made else self._constant(name, len(x))
                )
        for name in self.schema.names:
            if name not in arrays:
                arrays[name] = self._sum(name, arrays)
        return arrow.table([arrays[name] for name in self.schema.names], schema=self.schema)

    def _wishes(self, cells: NDArray[np.int64]) -> dict[str, Wishes]:
        """Return the parts that the dates of each column should have, of the rows `(B, fields)` whose cell is wide."""
        parts: dict[str, dict[str, NDArray[np.int64]]] = {}
        nearest: dict[str, dict[str, NDArray[np.int64]]] = {}
        at = {name: field for field, name in enumerate(self.columns)}
        for column, own in zip(self.columns.values(), cells.T, strict=True):
            if isinstance(column, DatePartColumn) and isinstance(self.columns[column.of], Bins):
                values, missing = column.decode(own, np.zeros(len(own)))
                open_ = cells[:, at[column.of]] < self.columns[column.of].field.ordered
                parts.setdefault(column.of, {})[column.part] = np.where(missing | ~open_, -1, values)
                nearest.setdefault(column.of, {})[column.part] = column.nearest()
        wishes = {}
        for name, own_parts in parts.items():
            column, clock = self.columns[name], Clock.of(self.schema.field(name).type)
            assert isinstance(column, Bins)
            assert clock is not None
            wishes[name] = Wishes(clock, column.units, own_parts, nearest[name])
        return wishes

    def _following(self, cells: NDArray[np.int64], wishes: dict[str, Wishes]) -> dict[str, Following]:
        """Return how far the dates of each column are from their reference; `wishes` loses those that they place."""
        at = {name: field for field, name in enumerate(self.columns)}
        following = {}
        for column, own in zip(self.columns.values(), cells.T, strict=True):
            if not isinstance(column, DifferenceColumn):
                continue
            dated = [
                dated_cells(date)[cells[:, at[name]]]
                for name in (column.of, column.reference)
                if isinstance(date := self.columns[name], Numbers)
            ]
            active = np.logical_and(*dated)
            low, high = column.distances(own)
            clocks = [Clock.of(self.schema.field(name).type) for name in (column.of, column.reference)]
            assert clocks[0] is not None
            assert clocks[1] is not None
            grid, wished = column.grid(clocks[0], clocks[1]), wishes.get(column.of)
            if wished is not None:
                wishes[column.of] = wished.where(~active)
                wished = wished.where(active)
            following[column.of] = Following(
                column.reference, grid, column.numbers, low, high, active, column.ordered, wished
            )
        return following

    def _numbers(
        self,
        name: str,
        column: Numbers,
        cells: NDArray[np.int64],
        inside: NDArray[np.float64],
        known: Known | None,
        wishes: Wishes | None,
    ) -> NumberColumn:
        values, missing = column.decode(cells, inside)
        if wishes is not None and isinstance(column, Bins):
            anywhere = np.full(len(cells), np.inf)
            values = column.within(values, cells, inside, -anywhere, anywhere, place=wishes.place)
        fixed = np.zeros(len(cells), dtype=np.bool_)
        if known is not None:
            given, is_known = known[name]
            exact, is_missing = to_numbers(given)
            fixed = is_known & ~is_missing
            values = np.where(fixed, exact, values)
        return NumberColumn(column, cells, inside, values, missing, fixed, wishes)

    def _categories(self, name: str, column: Categories, cells: NDArray[np.int64]) -> dict[str, Any]:
        indices = column.indices(cells)
        if name in self.schema.names:
            return {name: category_array(column.outputs, indices, self.schema.field(name).type)}
        arrays = {}
        for at, member in enumerate(members(name)):
            kind = self.schema.field(member).type
            values = [value[at] for value in column.outputs]
            arrays[member] = cast(category_array(values, indices, plain_type(kind)), kind)
        return arrays

    def _pseudonyms(
        self, name: str, column: Categories, cells: NDArray[np.int64], made: Mapping[str, list[str | None]]
    ) -> dict[str, Any]:
        """Return the pseudonyms of people who stand in many rows; all others are `made` anew."""
        import pyarrow.compute as compute

        kind = self.schema.field(name).type
        others = typed(made[name], kind)
        frequent = category_array(column.values, np.minimum(cells, len(column.values)), plain_type(kind))
        is_other = np.asarray(cells == column.rare_cell)
        return {name: cast(compute.if_else(is_other, others, frequent), kind)}

    def _sum(self, name: str, arrays: Mapping[str, Any]) -> Any:
        values, missing = zip(*(to_numbers(arrays[part]) for part in self.unmodelled[name]), strict=True)
        return to_column(np.sum(values, axis=0), np.logical_or.reduce(missing), self.schema.field(name).type)

    def _constant(self, name: str, count: int) -> Any:
        import pyarrow as arrow

        kind, value = self.schema.field(name).type, self.unmodelled[name]
        if value is None:
            return arrow.nulls(count, kind)
        # A whole number may also be a date or a time, and text a decimal number, which cast reads.
        one = arrow.scalar(value, plain_type(kind) if type(value) is int else None)
        return cast(arrow.repeat(one, count), kind)
