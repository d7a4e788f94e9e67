"""Numbers, dates and times as multiples of their smallest step, and back to their own type."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

_DIGITS, _DIGITS_OF_SINGLE = 12, 6  # most decimal places that make a step, in double and in single precision
_DIGITS_OF_SUMS, _LAST_BITS = 9, 1e-14  # decimal places that sums have at most, and their relative error
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

    def between(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and the last unit from low to high, of values whose type is whole."""
        first, last = self.count(low), self.count(high)
        return first + (self.restore(first) < low), last - (self.restore(last) > high)

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
    step = max(1, int(np.gcd.reduce(np.unique(values - offset)))) if len(values) else 1
    return Units(offset % step, step, digits)  # the smallest value would disclose its row


def _digits(values: NDArray[Any]) -> int | None:
    """Return the decimal places that reproduce every value in its own precision; None: more than a few.

    Sums and products of decimal numbers, such as 3 * .35, may differ from one in their last bits.
    """
    wide = values.astype(np.float64)
    largest = float(np.abs(wide).max(initial=0))
    double = values.dtype == np.float64
    for digits in range((_DIGITS if double else _DIGITS_OF_SINGLE) + 1):
        if largest * 10.0**digits >= _EXACT:
            return None
        rounded = np.round(wide, digits)
        if np.array_equal(rounded.astype(values.dtype), values):
            return digits
        if double and digits <= _DIGITS_OF_SUMS and (np.abs(rounded - wide) <= _LAST_BITS * np.abs(wide)).all():
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


def parse(value: Any, kind: Any) -> float | int:
    """Return a value of Python, or its text, as `to_numbers` returns values of the Arrow type `kind`.

    Raises ValueError where the type has no such value.
    """
    import pyarrow as arrow
    import pyarrow.types as types

    if types.is_temporal(kind):
        if isinstance(value, str) and types.is_duration(kind):
            value = _duration(value)
        try:
            return int(to_numbers(_temporal(value, kind))[0][0])
        except (arrow.ArrowException, TypeError, OverflowError) as error:
            raise ValueError(str(error)) from None
    text = str(value)
    number = float(text)
    if math.isnan(number) and isinstance(value, str):
        raise ValueError("not a number")
    if types.is_integer(kind) and number.is_integer() and not text.strip().lstrip("+-").isdecimal():
        return int(number)
    return int(text) if text.strip().lstrip("+-").isdecimal() else number


def _temporal(value: Any, kind: Any) -> Any:
    """Return an Arrow array of one date, time or duration; without a zone it is of the zone of `kind`."""
    import datetime

    import pyarrow as arrow
    import pyarrow.compute as compute
    import pyarrow.types as types

    if isinstance(value, (int, float)):
        raise ValueError("a number is no date or time")
    if isinstance(value, (np.datetime64, np.timedelta64)) and not isinstance(value.item(), int):
        value = value.item()
    if isinstance(value, str) and types.is_time(kind):
        value = datetime.time.fromisoformat(value.strip())
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = value.isoformat()
    array = arrow.array([value])
    if getattr(kind, "tz", None) and getattr(array.type, "tz", None) is None:
        zone = re.search(r"(Z|[+-]\d{2}:?\d{2})$", value) if isinstance(value, str) and ":" in value else None
        if zone is None:
            array = compute.assume_timezone(compute.cast(array, arrow.timestamp(kind.unit)), kind.tz)
    return compute.cast(array, kind)


def _duration(text: str) -> Any:
    """Return a duration such as `3 days 04:05:06.5`, `3 days` or `04:05:06`. Raises ValueError."""
    import datetime

    match = re.fullmatch(r"\s*(?:(-?\d+) ?d(?:ays?)?,?)?\s*(?:(\d+):(\d{2})(?::(\d{2}(?:\.\d+)?))?)?\s*", text)
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is no duration")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return datetime.timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
