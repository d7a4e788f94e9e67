"""Rows of cells to Arrow tables: what cells leave open is drawn from each row's own noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.noise import Noise

from . import pii
from .cells import cast, category_array, members, plain_type
from .column_types import ColumnType
from .columns import Categories, CellCondition, Column, Numbers
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
        for (name, column), own in zip(self.columns.items(), cells.T, strict=True):
            inside = (words[members(name)[0]] >> np.uint64(11)).astype(np.float64) * 2.0**-53
            if isinstance(column, Numbers):
                numbers[name] = self._numbers(name, column, own, inside, known)
            else:
                assert isinstance(column, Categories)
                arrays |= self._categories(name, column, own, inside)
        repair(numbers, conditions or {}, self.orders)
        for name, one in numbers.items():
            arrays[name] = to_column(one.values, one.missing, self.schema.field(name).type)
        for name in self.schema.names:
            if name not in arrays and self.column_types[name].kind != "sum":
                arrays[name] = self._unmodelled(name, words[name], noise.seeds.numpy())
        for name in self.schema.names:
            if name not in arrays:
                arrays[name] = self._sum(name, arrays)
        return arrow.table([arrays[name] for name in self.schema.names], schema=self.schema)

    def _numbers(
        self, name: str, column: Numbers, cells: NDArray[np.int64], inside: NDArray[np.float64], known: Known | None
    ) -> NumberColumn:
        values, missing = column.decode(cells, inside)
        fixed = np.zeros(len(cells), dtype=np.bool_)
        if known is not None:
            given, is_known = known[name]
            exact, is_missing = to_numbers(given)
            fixed = is_known & ~is_missing
            values = np.where(fixed, exact, values)
        return NumberColumn(column, cells, inside, values, missing, fixed)

    def _categories(
        self, name: str, column: Categories, cells: NDArray[np.int64], inside: NDArray[np.float64]
    ) -> dict[str, Any]:
        indices = column.indices(cells, inside)
        if name in self.schema.names:
            return {name: category_array(column.values, indices, self.schema.field(name).type)}
        arrays = {}
        for at, member in enumerate(members(name)):
            kind = self.schema.field(member).type
            values = [value[at] for value in column.values]
            arrays[member] = cast(category_array(values, indices, plain_type(kind)), kind)
        return arrays

    def _sum(self, name: str, arrays: Mapping[str, Any]) -> Any:
        values, missing = zip(*(to_numbers(arrays[part]) for part in self.unmodelled[name]), strict=True)
        return to_column(np.sum(values, axis=0), np.logical_or.reduce(missing), self.schema.field(name).type)

    def _unmodelled(self, name: str, words: NDArray[np.uint64], seeds: NDArray[np.int64]) -> Any:
        """Return a constant column, or generated keys or personal data, which depend on the row's seed alone."""
        import pyarrow as arrow

        count, kind = len(words), self.schema.field(name).type
        form, detail = self.column_types[name].form, self.unmodelled[name]
        if form == "number":
            largest = int(np.iinfo(plain_type(kind).to_pandas_dtype()).max)
            return cast(arrow.array(pii.number_keys(detail, seeds, largest)), kind)
        if form == "pattern":
            return cast(arrow.array(pii.fill_pattern(detail, words)), kind)
        if form == "uuid":
            return cast(arrow.array(pii.make_uuid(words)), kind)
        if form:
            return cast(arrow.array(pii.fake(form, words)), kind)
        if detail is None:
            return arrow.nulls(count, kind)
        # A whole number may also be a date or a time, and text a decimal number, which cast reads.
        value = arrow.scalar(detail, plain_type(kind) if type(detail) is int else None)
        return cast(arrow.repeat(value, count), kind)
