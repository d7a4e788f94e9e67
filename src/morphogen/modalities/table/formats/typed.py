"""Columns whose own type the statistics cannot see: their cells as plain values, and back to the type."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, final

from .column import ColumnFormat, Unreadable, strings, whole

_DOUBLE_DIGITS = 15  # significant decimal digits that a double always keeps
_LONG_DIGITS = 18  # that 62 bits keep


@final
@dataclass(frozen=True, kw_only=True)
class NestedFormat(ColumnFormat):
    """Lists, structs and maps as JSON; `type` is the Arrow type, see `pack_type`."""

    kind: ClassVar[str] = "nested"
    textual: ClassVar[bool] = False
    type: str

    def read(self, cells: Any) -> Any:
        import pyarrow as arrow

        texts = [None if cell is None else _json(cell) for cell in cells.to_pylist()]
        return arrow.array(texts, arrow.string())

    def write(self, values: Any) -> Any:
        import pyarrow as arrow

        texts = values.to_pylist()
        return arrow.array(
            [None if text is None else _parsed(json.loads, text) for text in texts], unpack_type(self.type)
        )

    def read_distinct(self, cells: Any) -> Any:
        return self.read(cells)

    def write_distinct(self, values: Any) -> Any:
        return self.write(values)

    @property
    def words(self) -> str:
        return "a list or record, as JSON"


@final
@dataclass(frozen=True, kw_only=True)
class ScaledFormat(ColumnFormat):
    """Decimals of more digits than a double holds, counted in units of the last place; `precision` is the type's."""

    kind: ClassVar[str] = "scaled"
    textual: ClassVar[bool] = False
    precision: int
    scale: int

    def read_distinct(self, cells: Any) -> Any:
        import pyarrow as arrow

        values = [int(cell.scaleb(self.scale)) for cell in cells.to_pylist()]
        try:
            return arrow.array(values, arrow.int64())
        except OverflowError:
            raise Unreadable(max(values), f"a number of at most {_LONG_DIGITS} digits") from None

    def value(self, given: Any) -> Any:
        import decimal

        try:
            scaled = decimal.Decimal(str(given)).scaleb(self.scale)
        except decimal.InvalidOperation:
            raise Unreadable(given, self.words) from None
        return int(scaled) if scaled == int(scaled) else float(scaled)

    def write_distinct(self, values: Any) -> Any:
        import decimal

        import pyarrow as arrow

        cells = [decimal.Decimal(value).scaleb(-self.scale) for value in values.to_pylist()]
        return arrow.array(cells, arrow.decimal128(self.precision, self.scale))

    @property
    def words(self) -> str:
        return f"a decimal number of {self.scale} places"


@final
@dataclass(frozen=True, kw_only=True)
class CastFormat(ColumnFormat):
    """Values as the text that Arrow casts them to: UUIDs as such, whole numbers beyond 63 bits, bytes as hexadecimals.

    `type` is the Arrow type, see `pack_type`.
    """

    kind: ClassVar[str] = "cast"
    textual: ClassVar[bool] = False
    type: str

    @cached_property
    def _type(self) -> Any:
        return unpack_type(self.type)

    def read(self, cells: Any) -> Any:
        import pyarrow as arrow

        return arrow.array([_text(cell) for cell in cells.to_pylist()], arrow.string())

    def write(self, values: Any) -> Any:
        return parse_texts(values.to_pylist(), self._type)

    def read_distinct(self, cells: Any) -> Any:
        return self.read(cells)

    def write_distinct(self, values: Any) -> Any:
        return self.write(values)

    @property
    def words(self) -> str:
        return f"text for {self._type}"


@final
@dataclass(frozen=True, kw_only=True)
class CategoryFormat(ColumnFormat):
    """Categories in an order of their own, those included that no row has.

    `labels` are their plain values, `type` the Arrow type of the dictionary, see `pack_type`. A plain value that is
    none of them is written behind them.
    """

    kind: ClassVar[str] = "categories"
    textual: ClassVar[bool] = False
    labels: tuple[Any, ...]
    type: str
    unused: tuple[Any, ...] = ()  # labels that no row had, of all that were read

    def protected(self, shown: Collection[Any]) -> CategoryFormat:
        """Return the format without labels of rows that are not `shown`, since they are rare."""
        return replace(self, labels=tuple(label for label in self.labels if label in shown or label in self.unused))

    @cached_property
    def _type(self) -> Any:
        return unpack_type(self.type)

    def read(self, cells: Any) -> Any:
        import pyarrow as arrow

        cells = whole(cells.unify_dictionaries() if isinstance(cells, arrow.ChunkedArray) else cells)
        labels = label_array(cells.dictionary)
        return arrow.DictionaryArray.from_arrays(cells.indices.cast(arrow.int32()), labels, ordered=cells.type.ordered)

    def write(self, values: Any) -> Any:
        import pyarrow as arrow
        import pyarrow.compute as compute

        values = whole(values)
        plain = values.cast(values.type.value_type)
        known = arrow.array(list(self.labels), plain.type)
        new = compute.unique(plain.filter(compute.invert(compute.is_in(plain, known)))).drop_null()
        labels = arrow.concat_arrays([known, new])
        indices = compute.index_in(plain, labels, skip_nulls=True).cast(self._type.index_type)
        if labels.type != self._type.value_type:
            labels = parse_texts(labels.to_pylist(), self._type.value_type)
        return arrow.DictionaryArray.from_arrays(indices, labels, ordered=self._type.ordered)

    def read_distinct(self, cells: Any) -> Any:
        return self.read(cells)

    def write_distinct(self, values: Any) -> Any:
        return self.write(values)

    @property
    def words(self) -> str:
        return ""


def label_array(dictionary: Any) -> Any:
    """Return the plain values of categories: numbers, words and booleans as they are, all others as text."""
    import pyarrow as arrow
    import pyarrow.types as types

    kind = dictionary.type
    if types.is_string(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return dictionary
    return strings([_text(value) for value in dictionary.to_pylist()]) if len(dictionary) else arrow.array([], "string")


def pack_type(kind: Any) -> str:
    """Return an Arrow type as text."""
    import pyarrow as arrow

    return base64.b64encode(arrow.schema([arrow.field("x", kind)]).serialize().to_pybytes()).decode()


def unpack_type(text: str) -> Any:
    """Return the Arrow type that `pack_type` packed."""
    import pyarrow as arrow

    return arrow.ipc.read_schema(arrow.py_buffer(base64.b64decode(text))).field(0).type


def parse_texts(texts: list[str | None], kind: Any) -> Any:
    """Return texts, as `_text` writes values, as an Arrow array of a type; what cannot be of the type is missing."""
    import uuid

    import pyarrow as arrow
    import pyarrow.types as types

    def values(read: Callable[[str], Any]) -> list[Any]:
        return [None if text is None else _parsed(read, text) for text in texts]

    if isinstance(kind, arrow.UuidType):
        return arrow.array(values(lambda text: uuid.UUID(text).bytes), kind.storage_type).cast(kind)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return arrow.array(values(bytes.fromhex), kind)
    if types.is_integer(kind):
        return arrow.array(values(int), kind)
    return arrow.array(values(lambda text: strings([text]).cast(kind)[0].as_py()), kind)


def _parsed(read: Callable[[str], Any], text: str) -> Any:
    """Return what a text stands for; None: nothing, as a word in the place of rare values may."""
    try:
        return read(text)
    except ValueError:
        return None


def _text(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_refuse)


def _refuse(value: Any) -> Any:
    raise TypeError(f"a {type(value).__name__} inside a list or record cannot be written as JSON")


def infer_typed(column: Any) -> ColumnFormat | None:
    """Return the format of an Arrow column of any type but text; None: the statistics see it as it is.

    Raises ValueError on values that have no plain form.
    """
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    from .moment_patterns import infer_whole_numbers

    kind = column.type
    if types.is_dictionary(kind):
        column = column.unify_dictionaries()
        dictionary = column.chunk(0).dictionary if column.num_chunks else arrow.array([], kind.value_type)
        labels = label_array(dictionary)
        used = compute.unique(column.cast(dictionary.type))
        unused = labels.filter(compute.invert(compute.is_in(dictionary, used)))
        return CategoryFormat(labels=tuple(labels.to_pylist()), type=pack_type(kind), unused=tuple(unused.to_pylist()))
    if types.is_nested(kind):
        return NestedFormat(type=pack_type(kind))
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    if binary or isinstance(kind, arrow.UuidType):
        return CastFormat(type=pack_type(kind))
    if types.is_uint64(kind) and (compute.max(column).as_py() or 0) >= 2**62:
        return CastFormat(type=pack_type(kind))
    if types.is_integer(kind):
        return infer_whole_numbers(compute.unique(compute.drop_null(column)).cast(arrow.int64()))
    if types.is_decimal(kind):
        cells = compute.unique(compute.drop_null(column)).to_pylist()
        digits = max((len(str(abs(int(cell.scaleb(kind.scale))))) for cell in cells), default=0)
        if digits > _LONG_DIGITS:
            return CastFormat(type=pack_type(kind))
        return ScaledFormat(precision=kind.precision, scale=kind.scale) if digits > _DOUBLE_DIGITS else None
    return None
