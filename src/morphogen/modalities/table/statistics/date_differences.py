"""How far two dates or times are apart, such as the days of a stay, where one follows the other in real rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..date_parts import Clock
from ..units import to_numbers

MOST = 10  # differences, those that vary least beside their dates
_MOST_COLUMNS = 20  # 190 pairs
_LEAST_ROWS = 20  # with both dates
_CLOSE = 0.5  # spread of a difference beside that of either date, up to which one date follows the other
_EXAMINED = 2_000  # rows that the share of independent ones is computed from
_NEVER, _EXPECTED = 0.001, 20  # share of rows in the wrong order; rows that would be, were the dates independent
_FAR = 10  # times the shorter range of both dates: a date farther off, such as one in 9999, stands for something else
_UNITS = {"days": 86_400_000_000, "hours": 3_600_000_000, "minutes": 60_000_000, "seconds": 1_000_000}  # microseconds
_LATEST = 5 * 10**7  # days, so that differences fit into 64 bits as microseconds


class DateDifference(NamedTuple):
    """The time from one column of dates or times to another, in a unit; larger ones than `farthest` are missing."""

    earlier: str
    later: str
    unit: str
    farthest: float

    @property
    def name(self) -> str:
        return f"{self.unit} from {self.earlier} to {self.later}"


class Moments(NamedTuple):
    """Two columns of dates or times as microseconds since 1970, and where either is missing, `(N,)` each."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    missing: NDArray[np.bool_]

    @property
    def between(self) -> NDArray[np.int64]:
        return self.second - self.first


def are_moments(*kinds: Any) -> bool:
    """Return whether Arrow types are ones of dates, or of times with dates."""
    return all(Clock.of(kind) is not None for kind in kinds)


def moments(first: Any, second: Any) -> Moments:
    """Return two columns as people compare them: by the local clock, and by the day where either has dates only."""
    clocks = [clock for clock in (Clock.of(first.type), Clock.of(second.type)) if clock is not None]
    zones = {clock.zone for clock in clocks}
    local = len(zones) == 1 or "" in zones
    (one, absent), (other, missing) = (
        _microseconds(column, clock, _whole_days(first, second), local)
        for column, clock in zip((first, second), clocks, strict=True)
    )
    return Moments(one, other, absent | missing)


def find_date_differences(table: Any) -> tuple[list[DateDifference], int]:
    """Return the differences of dates of which one follows the other, and how many more there are.

    Of two such dates the difference varies much less than either date, or one never is before the other.
    """
    names = [name for name in table.column_names if are_moments(table.column(name).type)][:_MOST_COLUMNS]
    candidates = [one for pair in combinations(names, 2) for one in _following(table, *pair)]
    candidates = sorted((one for one in candidates if one[1].name not in table.column_names), key=lambda one: one[0])
    return [one for _, one in candidates[:MOST]], max(0, len(candidates) - MOST)


def with_date_differences(table: Any, differences: Sequence[DateDifference]) -> Any:
    """Return the table with a column of numbers for each difference, after its own columns."""
    import pyarrow as arrow

    for one in differences:
        pair = moments(table.column(one.earlier), table.column(one.later))
        numbers = pair.between / _UNITS[one.unit]
        table = table.append_column(
            one.name, arrow.array(numbers, mask=pair.missing | (np.abs(numbers) > one.farthest))
        )
    return table


def above(low: NDArray[Any], high: NDArray[Any]) -> tuple[int, float]:
    """Return in how many rows the first is above the second, and the share of rows were they independent."""
    some = slice(None, None, -(-len(low) // _EXAMINED))
    below = np.searchsorted(np.sort(high[some]), low[some], side="left")  # of the second, below each of the first
    return int((low > high).sum()), float(below.mean()) / len(high[some])


def _whole_days(*columns: Any) -> bool:
    import pyarrow.types as types

    return any(types.is_date(column.type) for column in columns)


def _microseconds(
    column: Any, clock: Clock, whole_days: bool, local: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    ticks, missing = to_numbers(column)
    ticks = clock.local(np.where(missing, 0, ticks)) if local else ticks
    days, time = np.clip(ticks // clock.day, -_LATEST, _LATEST) * _UNITS["days"], ticks % clock.day
    if whole_days:
        return days, missing
    longer, shorter = max(1, _UNITS["days"] // clock.day), max(1, clock.day // _UNITS["days"])
    return days + time * longer // shorter, missing


def _following(table: Any, name: str, other: str) -> Iterator[tuple[float, DateDifference]]:
    """Yield the difference of two columns, after its spread beside that of the dates, where one follows the other."""
    columns = table.column(name), table.column(other)
    pair = moments(*columns)
    first, second = pair.first[~pair.missing], pair.second[~pair.missing]
    if len(first) < _LEAST_ROWS:
        return
    farthest = _FAR * int(min(np.ptp(first), np.ptp(second)))
    near = np.abs(second - first) <= farthest
    if near.sum() < _LEAST_ROWS:
        return
    first, second = first[near], second[near]
    backward = (np.median(second - first) or (second - first).mean()) < 0
    if backward:
        first, second = second, first
    difference, spread = second - first, min(_spread(first), _spread(second))
    wrong, chance = above(first, second)
    ordered = wrong <= _NEVER * len(first) and chance * len(first) >= _EXPECTED
    if not ordered and _spread(difference) > _CLOSE * spread:
        return
    usual = np.quantile(np.abs(difference), 0.9)
    unit = next((unit for unit, length in _UNITS.items() if usual >= 2 * length), "seconds")
    unit = "days" if _whole_days(*columns) else unit
    earlier, later = (other, name) if backward else (name, other)
    yield _spread(difference) / max(spread, 1.0), DateDifference(earlier, later, unit, farthest / _UNITS[unit])


def _spread(values: NDArray[np.int64]) -> float:
    """Return the distance of the first and the last decile."""
    low, high = np.quantile(values, (0.1, 0.9))
    return float(high - low)
