"""Numbers, dates and times as multiples of their smallest step, and back to their own type."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

_DIGITS, _DIGITS_OF_SINGLE = 12, 6  # most decimal places that make a step, in double and in single precision
_EXACT = 2**53  # whole numbers up to this are exact in double precision


@dataclass(frozen=True)
class Units:
    """How the values of one column are counted: `offset + step * unit`; where `step` is 0, as they are.

    `digits` is how many decimal places values have at most; -1 where their type is whole, or where they have more
    than a few.
    """

    offset: int = 0
    step: int = 1
    digits: int = -1

    @property
    def whole(self) -> bool:
        return self.step > 0

    def count(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values as units: int64 rounded to the nearest where units are whole, else float64."""
        if not self.whole:
            return values.astype(np.float64)
        if self.digits >= 0:
            whole = np.rint(np.asarray(values, dtype=np.float64) * 10.0**self.digits)
            values = np.clip(whole, -float(_EXACT), float(_EXACT)).astype(np.int64)
        shifted = values - np.int64(self.offset)
        return shifted if self.step == 1 else np.floor_divide(shifted + self.step // 2, self.step)

    def restore(self, units: NDArray[Any]) -> NDArray[Any]:
        """Return the values of units: int64 where their type is whole, else float64."""
        if not self.whole:
            values = units.astype(np.float64)
            return np.round(values, self.digits) if self.digits >= 0 else values
        whole = units.astype(np.int64) * np.int64(self.step) + np.int64(self.offset)
        return whole if self.digits < 0 else whole / 10.0**self.digits

    def state(self) -> dict[str, int]:
        return asdict(self)


def find_units(values: NDArray[Any]) -> Units:
    """Return the units of values of which none is missing.

    They are whole where the type is, or where all values are finite and have few decimal places.
    """
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        digits = _digits(values[finite])
        if digits is None or not finite.all():
            return Units(step=0, digits=-1 if digits is None else digits)
        values = np.rint(values.astype(np.float64) * 10.0**digits).astype(np.int64)
    else:
        digits, values = -1, values.astype(np.int64)
    offset = int(values.min()) if len(values) else 0
    if len(values) and int(values.max()) - offset >= 2**62:
        raise UserError(
            f"numbers from {offset} to {values.max()} span more than 62 bits; drop the column or make them floats"
        )
    step = int(np.gcd.reduce(np.unique(values - offset))) if len(values) else 1
    return Units(offset, max(1, step), digits)


def _digits(values: NDArray[Any]) -> int | None:
    """Return the decimal places that reproduce every value in its own precision; None: more than a few."""
    wide = values.astype(np.float64)
    largest = float(np.abs(wide).max(initial=0))
    for digits in range((_DIGITS if values.dtype == np.float64 else _DIGITS_OF_SINGLE) + 1):
        if largest * 10.0**digits >= _EXACT:
            return None
        if np.array_equal(np.round(wide, digits).astype(values.dtype), values):
            return digits
    return None


def is_numeric(kind: Any) -> bool:
    """Return whether an Arrow type has an order and a distance: numbers, dates and times."""
    import pyarrow.types as types

    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return number or (types.is_temporal(kind) and not types.is_interval(kind))


def to_numbers(column: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the values of an Arrow column of numbers, dates or times as int64 or floats, and which are missing.

    Raises UserError on whole numbers that do not fit into 64 bits.
    """
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    kind = column.type
    if types.is_decimal(kind):
        column = compute.cast(column, arrow.float64())
    elif types.is_date32(kind) or types.is_time32(kind):
        column = compute.cast(column, arrow.int32())
    elif types.is_temporal(kind):
        column = compute.cast(column, arrow.int64())
    missing = np.asarray(compute.is_null(column).to_numpy(zero_copy_only=False), dtype=np.bool_)
    filled = compute.fill_null(column, 0) if missing.any() else column
    values = filled.to_numpy(zero_copy_only=False) if hasattr(filled, "chunks") else np.asarray(filled)
    if values.dtype.kind == "f":
        # The cast from a decimal number is not rounded to the nearest float.
        return np.round(values, kind.scale) if types.is_decimal(kind) else values, missing
    if values.dtype == np.uint64 and len(values) and int(values.max()) >= 2**63:
        raise UserError(f"whole numbers up to {values.max()} do not fit into signed 64 bits; make them floats")
    return values.astype(np.int64), missing


def to_column(values: NDArray[Any], missing: NDArray[np.bool_], kind: Any) -> Any:
    """Return an Arrow array of the type `kind`; the reverse of `to_numbers`."""
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    mask = missing if missing.any() else None
    if types.is_floating(kind):
        return arrow.array(values.astype(kind.to_pandas_dtype()), kind, mask=mask)
    if types.is_decimal(kind):
        wide = compute.round(arrow.array(values.astype(np.float64), mask=mask), kind.scale)
        return compute.cast(wide, kind, safe=False)
    if types.is_date32(kind) or types.is_time32(kind):
        return compute.cast(arrow.array(values.astype(np.int32), mask=mask), kind)
    if types.is_temporal(kind):
        return compute.cast(arrow.array(values.astype(np.int64), mask=mask), kind)
    if values.dtype.kind == "f":
        values = np.rint(values)
    limits = np.iinfo(kind.to_pandas_dtype())
    return arrow.array(np.clip(values, limits.min, limits.max).astype(kind.to_pandas_dtype()), kind, mask=mask)


def parse(text: str, kind: Any) -> float | int:
    """Return the value in a text as `to_numbers` returns values of the Arrow type `kind`. Raises ValueError."""
    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    if types.is_temporal(kind) and not types.is_duration(kind):
        try:
            cast = compute.cast(arrow.chunked_array([[text]]), kind)
        except arrow.ArrowException as error:
            raise ValueError(str(error)) from None
        return int(to_numbers(cast)[0][0])
    value = float(text)
    if math.isnan(value):
        raise ValueError("not a number")
    return int(text) if text.strip().lstrip("+-").isdecimal() else value
