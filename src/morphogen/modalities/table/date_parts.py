"""The parts of dates and times that return, such as the hour of the day, as fields beside the column itself.

A column of dates is one field of ordered cells, which shows its course and hides its cycles: an interval of two days
holds every hour, and no network reads the weekday from the number of an interval. So each part that returns is a field
as well, and the cells are at least a week wide (a day, where no weekday returns): otherwise a sampled weekday would not
exist in the sampled cell. The column's own cell keeps deciding missing values, conditions and order; the parts choose a
time inside it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, final

import numpy as np
from numpy.typing import NDArray

from .column import CellCondition, Cells, Column, Mask
from .columns import Bins, Numbers, Values
from .units import Units

PARTS = ("hour", "weekday", "month")  # the year never returns: the column's own cell tells it
FEW = 32  # dates up to which every family models a column as categories, and so any dependence on them
_MONTH, _YEAR = 32, 400  # days, of which the latter have every weekday of every month
# Of a part that a date cannot have; the cell tells most of the month. A rare value in place of the wished one, with the
# same cell, counts one in `_NEAR` of it: less than any part that has another cell.
_WEIGHTS = {"hour": 32, "weekday": 16, "month": 8}
_NEAR = 8
_ROWS = 1024  # that are placed at once, on up to two years of days each


@dataclass(frozen=True)
class Clock:
    """How dates and times of one Arrow type count: ticks a day, and the zone in which people read them."""

    day: int
    unit: str = ""
    zone: str = ""

    @classmethod
    def of(cls, kind: Any) -> Clock | None:
        """Return the clock of an Arrow type; None for all but dates and timestamps."""
        import pyarrow as arrow
        import pyarrow.types as types

        if types.is_date32(kind):
            return cls(1)
        if types.is_date64(kind):
            return cls(86_400_000)
        if types.is_timestamp(kind):
            ticks = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
            clock = cls(86_400 * ticks, kind.unit, kind.tz or "")
            with contextlib.suppress(arrow.ArrowInvalid):  # a zone that nobody knows
                clock.local(np.zeros(1, dtype=np.int64))
                return clock
        return None

    def local(self, ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ticks of the local clock."""
        import pyarrow as arrow
        import pyarrow.compute as compute

        if self.zone in ("", "UTC"):
            return ticks
        zoned = arrow.array(ticks, arrow.timestamp(self.unit, self.zone))
        return np.asarray(compute.local_timestamp(zoned).cast(arrow.int64()).to_numpy(zero_copy_only=False))

    def instant(self, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ticks at which the local clock shows `local`, the first where it does twice.

        A time that the clock skips is moved forward by as much as the clock is, as with `fold=0` (PEP 495).
        """
        if self.zone in ("", "UTC"):
            return local
        before, after = (guess + local - self.local(guess) for guess in (local - self.day, local + self.day))
        return np.where((self.local(before) != local) & (self.local(after) == local), after, before)

    def skipped_hours(self, days: NDArray[np.int64]) -> Mask:
        """Return which hours the local clock never shows on these consecutive days, `(n, 24)`."""
        skipped = np.zeros((len(days), 24), dtype=np.bool_)
        if self.zone in ("", "UTC"):
            return skipped
        midnights = np.append(days, days[-1:] + 1) * self.day
        forward = np.flatnonzero(np.diff(midnights - self.instant(midnights)) > 0)
        begins = midnights[forward, None] + self.day // 24 * np.arange(24)
        for local in (begins, begins + self.day // 24 - 1):
            shown = self.local(self.instant(local.ravel())).reshape(local.shape)
            skipped[forward] |= shown == local  # first which hours it does show
        skipped[forward] = ~skipped[forward]
        return skipped

    def part(self, name: str, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a part of local ticks: an hour from 0, a weekday from 0 (Monday), a month from 1."""
        if name == "hour":
            return local % self.day * 24 // self.day
        days = local // self.day
        if name == "weekday":
            return (days + 3) % 7  # 1970 began on a Thursday
        return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1


@final
class DatePartColumn(Column):
    """One part of the dates or times of column `of`: a cell for each frequent value, a rare one goes to the nearest."""

    kind = "date_part"

    def __init__(self, of: str, part: str, values: NDArray[np.int64]) -> None:
        """`values`, rising, are those of the part."""
        self.of, self.part, self._values = of, part, Values(Units(), values)
        self.field = self._values.field

    def encode(self, values: Any, missing: Mask) -> Cells:
        return self._values.encode(values, missing)

    def decode(self, cells: Cells, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        return self._values.decode(cells, inside)

    def nearest(self) -> NDArray[np.int64]:
        """Return the frequent value whose cell each value of any part has, `(24,)`."""
        every = np.arange(24)
        frequent: NDArray[np.int64] = self._values.values[self.encode(every, np.zeros(24, np.bool_))]
        return frequent

    def likelihood(self, condition: CellCondition) -> NDArray[np.float32]:
        """`condition` is one on the values of the part."""
        satisfied = np.zeros(self.field.size, dtype=np.float32)
        if condition.values:
            satisfied[self.encode(np.array(condition.values), np.zeros(len(condition.values), np.bool_))] = 1
        satisfied[self.missing_cell] = condition.missing
        return satisfied

    def state(self) -> dict[str, Any]:
        return {"of": self.of, "part": self.part, "values": self._values.values.tolist()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["of"], state["part"], np.array(state["values"], dtype=np.int64))

    def encode_dates(self, ticks: NDArray[np.int64], missing: Mask, column: Numbers, clock: Clock) -> Cells:
        """Return the cells of this part of dates or times, rare ones as the `column` of dates outputs them."""
        cells = column.encode(ticks, missing)
        if isinstance(column, Bins):
            first, last = column.units.restore(np.array([column.edges[0], column.edges[-1] - 1]))
            ticks = np.where(cells < column.field.ordered, np.clip(ticks, first, last), ticks)
        else:
            ticks, missing = column.decode(cells, np.zeros(len(cells)))
        return self.encode(clock.part(self.part, clock.local(ticks)), missing)

    def likelihood_of_dates(self, condition: CellCondition, column: Numbers, clock: Clock) -> NDArray[np.float32]:
        """Return which cells some date has that satisfies a condition on the `column` of dates."""
        ticks = [np.array(condition.values or (), dtype=np.int64)]
        if condition.low is not None or condition.high is not None:
            low, high = (int(end) for end in column.units.restore(outer_units(column)))
            low = max(low, low if condition.low is None else int(np.ceil(condition.low)))
            high = min(high, high if condition.high is None else int(np.floor(condition.high)))
            step, most = (clock.day // 24, clock.day) if self.part == "hour" else (clock.day, _YEAR * clock.day)
            ticks.append(np.array([*range(low, min(high, low + most), step), *([high] if low <= high else [])]))
        values = clock.part(self.part, clock.local(np.concatenate(ticks).astype(np.int64)))
        return self.likelihood(CellCondition(values=tuple(np.unique(values).tolist()), missing=condition.missing))


def part_key(column: DatePartColumn) -> str:
    """Return the name of a part among the modelled columns, which no column of a table has."""
    return json.dumps({column.part: column.of})


def split_dates(
    name: str, column: Numbers, values: NDArray[Any], clock: Clock, rare: int
) -> tuple[Numbers, list[DatePartColumn]]:
    """Return the column of these dates or times with cells so wide that they leave its parts open, and the parts."""
    parts = _returning(name, column, values, clock, rare)
    if not {"hour", "weekday"} & {one.part for one in parts}:
        return column, parts
    days = 7 if "weekday" in {one.part for one in parts} else 1
    return _widened(column, -(-days * clock.day // column.units.step)), parts


def _widened(column: Numbers, width: int) -> Bins:
    """Return a column whose cells are unions of cells, each of at least `width` units where there are as many."""
    if isinstance(column, Bins):
        edges, spikes = column.edges, column.spikes
    else:
        assert isinstance(column, Values)
        edges, spikes = np.append(column.ordered, column.ordered[-1] + 1), column.ordered[:0]
    wide = [int(edges[0])]
    for edge in edges[1:-1].tolist():
        if edge - wide[-1] >= width and edges[-1] - edge >= width:
            wide.append(edge)
    return Bins(column.units, np.array([*wide, edges[-1]]), spikes)


def _returning(name: str, column: Numbers, values: NDArray[Any], clock: Clock, rare: int) -> list[DatePartColumn]:
    """Return the parts of dates or times `values` that return, and so are no step of the column's own cells.

    A part returns where its values have more runs in the course of time than there are of them. The one hour of a local
    clock does as well, which the column's own steps do not have where the clock is changed.
    """
    if isinstance(column, Values) and column.field.ordered <= FEW:
        return []
    local = clock.local(np.unique(values))
    weights = np.unique(values, return_counts=True)[1]
    parts = []
    for part in PARTS:
        own = clock.part(part, local)
        distinct, inverse = np.unique(own, return_inverse=True)
        frequent = distinct[np.bincount(inverse, weights) >= rare]
        returns = 1 + np.count_nonzero(np.diff(own)) > len(distinct) and len(frequent) > 1
        if returns or (part == "hour" and clock.zone and len(distinct) == len(frequent) == 1):
            parts.append(DatePartColumn(name, part, frequent))
    return parts


class Counted(Protocol):
    """How dates or times are counted; see `Units`."""

    @property
    def step(self) -> int: ...

    def count(self, values: NDArray[Any], /) -> NDArray[Any]: ...

    def restore(self, units: NDArray[Any], /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Wishes:
    """The parts that the dates or times of rows should have, by name, `(B,)` each, -1: any.

    `nearest` holds, by part, the frequent value whose cell each value has, `(24,)`: a date of a rare month goes to the
    cell of the nearest frequent one, and so is the next best where no date has that.
    """

    clock: Clock
    units: Counted
    parts: Mapping[str, NDArray[np.int64]]
    nearest: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def mismatch(self, ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how far dates `(B,)` are from the wishes, 0 where they meet them; the hour counts most."""
        local = self.clock.local(ticks)
        return sum((self._missed(name, self.clock.part(name, local)) for name in self.parts), np.zeros_like(local))

    def place(self, counted: NDArray[Any], bottom: NDArray[Any], top: NDArray[Any]) -> NDArray[Any]:
        """Return the units that meet the wishes best, nearest in days to `counted`, from bottom to before top.

        What the parts leave open, such as minutes, stays that of `counted`.
        """
        placed, missed = counted.copy(), self.mismatch(self.units.restore(counted))
        for reach in (_MONTH, _YEAR):
            every = np.flatnonzero(missed)
            for rows in np.split(every, range(_ROWS, len(every), _ROWS)) if len(every) else ():
                own = self.select(rows)
                units = own._on_best_day(counted[rows], bottom[rows], top[rows], reach)
                still = own.mismatch(self.units.restore(units))
                better = still < missed[rows]
                placed[rows[better]], missed[rows[better]] = units[better], still[better]
            if (top - bottom).max(initial=0) * self.units.step <= reach * self.clock.day:
                break
        return placed

    def where(self, wanted: Mask) -> Wishes:
        """Return the wishes of some rows, and none for all others."""
        return replace(self, parts={name: np.where(wanted, one, -1) for name, one in self.parts.items()})

    def select(self, rows: NDArray[np.int64]) -> Wishes:
        """Return the wishes of some rows alone."""
        return replace(self, parts={name: wanted[rows] for name, wanted in self.parts.items()})

    def _missed(self, name: str, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the weight of a part where values `(B, …)` of it are not as wished, less of it in its cell, else 0."""
        wanted = self.parts[name].reshape(-1, *[1] * (values.ndim - 1))
        weight = np.full(values.shape, _WEIGHTS[name])
        if name in self.nearest:
            weight[self.nearest[name][values] == wanted] //= _NEAR
        return weight * ((wanted >= 0) & (values != wanted))

    def _on_best_day(self, counted: NDArray[Any], bottom: NDArray[Any], top: NDArray[Any], most: int) -> NDArray[Any]:
        """Return the units from bottom to before top on the nearest of the days that meet most of the wishes.

        It is at most `most` days away.
        """
        clock = self.clock
        low, local, high = (clock.local(self.units.restore(units)) for units in (bottom, counted, top - 1))
        today = local // clock.day
        reach = np.maximum(today - low // clock.day, high // clock.day - today).max(initial=0)
        outward = np.array(sorted(range(-min(int(reach), most), min(int(reach), most) + 1), key=abs))
        days = today[:, None] + outward
        begins, missed = days * clock.day, np.zeros_like(days)
        calendar = np.arange(days.min(), days.max() + 1)
        for name in self.parts.keys() - {"hour"}:
            missed += self._missed(name, clock.part(name, calendar * clock.day)[days - days.min()])
        has_hour = self._has_hour(begins, low[:, None], high[:, None])
        if "hour" in self.parts:
            has_hour &= ~clock.skipped_hours(calendar)[days - days.min(), np.maximum(self.parts["hour"], 0)[:, None]]
        missed += _WEIGHTS["hour"] * ~has_hour
        outside = (begins > high[:, None]) | (begins + clock.day <= low[:, None])
        best = np.where(outside, 2 * sum(_WEIGHTS.values()), missed).argmin(1)
        units = self._on_day(begins[np.arange(len(begins)), best], local % clock.day, low, high)
        return np.clip(units, bottom, top - 1)

    def _has_hour(self, begins: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return whether the days that begin then, `(B, …)`, have the wished hour between low and high."""
        if "hour" not in self.parts:
            return np.ones(begins.shape, dtype=np.bool_)
        wanted, slot = self.parts["hour"].reshape(-1, *[1] * (begins.ndim - 1)), self.clock.day // 24
        return (wanted < 0) | ((begins + wanted * slot <= high) & (begins + (wanted + 1) * slot > low))

    def _on_day(
        self,
        begin: NDArray[np.int64],
        time: NDArray[np.int64],
        low: NDArray[np.int64],
        high: NDArray[np.int64],
    ) -> NDArray[Any]:
        """Return the units of the wished hour, else of the time of day, on the days that begin then.

        They lie from low to high, in local ticks.
        """
        clock, first, last = self.clock, begin, begin + self.clock.day - 1
        if "hour" in self.parts:
            hour, slot = self.parts["hour"], clock.day // 24
            inside = (hour >= 0) & self._has_hour(begin, low, high)
            first = np.where(inside, begin + hour * slot, first)
            last = np.where(inside, first + slot - 1, last)
            time = np.where(inside, time % slot, time)
        first, last = np.maximum(first, low), np.minimum(last, high)
        units = self.units.count(clock.instant(np.maximum(np.minimum(first + time, last), first)))
        there = clock.local(self.units.restore(units))
        return units + (there < first) - (there > last)


def outer_units(column: Numbers) -> NDArray[Any]:
    """Return the first and the last unit of a column."""
    assert isinstance(column, (Bins, Values))
    units = np.append(column.edges, column.spikes) if isinstance(column, Bins) else column.ordered
    return np.array([units.min(), units.max()])
