"""The difference of two columns of dates or times, such as the days of a stay, as a field beside the later one.

Each date alone is a field of wide cells, from which no network reads how long it is from one to the other. So a column
that follows another closely has its distance from that reference as a field of its own, binned like any number. A
decoded date is then that of its reference plus the difference; its own cell decides whether it is missing, carries
conditions, and places it where there is no reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray

from .column import CellCondition, Cells, Column, Mask
from .columns import Bins, Numbers, Values
from .date_parts import Clock, outer_units
from .units import Units

DIFFERENCE = "difference"
_FAR = 4  # a frequent date farther outside than one in so many parts of the range stands for something else


class Dates(NamedTuple):
    """The dates or times of one column, how they are modelled, and how they count."""

    column: Numbers
    ticks: NDArray[np.int64]  # (n,)
    missing: Mask  # (n,)
    clock: Clock

    def have_differences(self) -> Mask:
        """Return which of them have a difference from other dates, `(n,)`."""
        return dated_cells(self.column)[self.column.encode(self.ticks, self.missing)]


def dated_cells(column: Numbers) -> Mask:
    """Return which cells of dates or times hold ones that others are before or after, `(field.size,)`.

    A frequent date far from all others, such as the last day of 9999, stands for a missing one.
    """
    dated = np.arange(column.field.size) < column.field.ordered
    if isinstance(column, Bins):
        first, last = int(column.edges[0]), int(column.edges[-1])
        reach = (last - first) // _FAR
        near = (column.spikes >= first - reach) & (column.spikes <= last + reach)
        dated[column.field.ordered : -1] = near
    return dated


def dated_range(column: Numbers) -> NDArray[np.int64]:
    """Return the first and the last of such dates, `(2,)`, in ticks."""
    ranges = column.ranges()[dated_cells(column)]
    return np.array([ranges[:, 0].min(), ranges[:, 1].max()]).astype(np.int64)


@dataclass(frozen=True)
class Grid:
    """The steps in which a column of dates or times and its reference are counted.

    They are those of the local clocks, so that a day has one length, but for times of two zones. Dates and times lie on
    steps or, where these are `days` with any time of day, between them.
    """

    clock: Clock
    reference: Clock
    units: Units
    local: bool
    days: bool

    @property
    def step(self) -> int:
        return self.units.step

    def count(self, ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the last step that is not after each date."""
        return self._count(self.clock.local(ticks) if self.local else ticks)

    def restore(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the dates of steps."""
        ticks = self.units.restore(steps)
        return self.clock.instant(ticks) if self.local else ticks

    def start(self, reference: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the last step that is not after each date of the reference."""
        return self._count(self._ticks(reference))

    def at(self, reference: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the dates of the reference in the ticks of the column."""
        ticks = self._ticks(reference)
        return self.clock.instant(ticks) if self.local else ticks

    def references(
        self, low: NDArray[np.int64], high: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and the last date of the reference that starts at a step from low to high."""
        up, down = self._ratio()
        begins = [
            -(-(self.units.offset + step * self.units.step) * down // up) for step in (low, high + 1)
        ]  # the next whole tick
        ends = begins[0], begins[1] - 1
        first, last = (self.reference.instant(one) if self.local else one for one in ends)
        return first, last

    def reference_at(self, ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the last date of a reference that is not after each date, the reverse of `at`."""
        up, down = self._ratio()
        local = (self.clock.local(ticks) if self.local else ticks) * down // up
        return self.reference.instant(local) if self.local else local

    def _count(self, ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        return (ticks - self.units.offset) // self.units.step

    def _ticks(self, reference: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the dates of the reference as ticks of the column's clock, local ones where steps are."""
        ticks = self.reference.local(reference) if self.local else reference
        up, down = self._ratio()
        return np.clip(ticks, -(2**62) // up, 2**62 // up) * up // down

    def _ratio(self) -> tuple[int, int]:
        """Return how many ticks there are in so many of the reference's."""
        own, other = self.clock.day, self.reference.day
        return (own // other, 1) if own >= other else (1, other // own)


@final
class DifferenceColumn(Column):
    """How many steps the dates or times of column `of` are after those of column `reference`."""

    kind = DIFFERENCE

    def __init__(
        self, of: str, reference: str, numbers: Values | Bins, units: Units, *, local: bool, days: bool, ordered: bool
    ) -> None:
        """`numbers` are the differences in steps of `units`, see `Grid`; `ordered`: none is less than nothing."""
        self.of, self.reference, self.numbers, self.units = of, reference, numbers, units
        self.local, self.days, self.ordered = local, days, ordered
        self.field = numbers.field

    def encode(self, values: Any, missing: Mask) -> Cells:
        return self.numbers.encode(values, missing)

    def decode(self, cells: Cells, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        return self.numbers.decode(cells, inside)

    def likelihood(self, condition: CellCondition) -> NDArray[np.float32]:
        """`condition` is one on the number of steps."""
        return self.numbers.likelihood(condition)

    def state(self) -> dict[str, Any]:
        return {
            "of": self.of,
            "reference": self.reference,
            "local": self.local,
            "days": self.days,
            "ordered": self.ordered,
            "units": self.units.state(),
            "numbers": {"kind": self.numbers.kind, **self.numbers.state()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], numbers: Values | Bins) -> Self:
        flags = {name: state[name] for name in ("local", "days", "ordered")}
        return cls(state["of"], state["reference"], numbers, Units(**state["units"]), **flags)

    def grid(self, clock: Clock, reference: Clock) -> Grid:
        """Return the steps of a column with this clock and of its reference."""
        return Grid(clock, reference, self.units, self.local, self.days)

    def distances(self, cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the least and the largest difference in each cell, `(n,)` each; of all where it is missing."""
        ends = self.numbers.bounds(cells)
        every = self.numbers.units.restore(outer_units(self.numbers))
        low, high = (np.where(np.isfinite(end), end, most) for end, most in zip(ends, every, strict=True))
        return low.astype(np.int64), high.astype(np.int64)

    def encode_dates(self, later: Dates, reference: Dates) -> Cells:
        """Return the cells of the differences of dates or times; missing where either has none."""
        missing = ~(later.have_differences() & reference.have_differences())
        grid = self.grid(later.clock, reference.clock)
        return self.encode(np.where(missing, 0, steps_after(grid, later, reference)), missing)

    def likelihood_of_dates(
        self, later: CellCondition | None, reference: CellCondition | None, clocks: tuple[Clock, Clock]
    ) -> NDArray[np.float32] | None:
        """Return which cells some pair of dates has that satisfies the conditions on both; None: any may."""
        if any(one is not None and one.missing and _ends(one) == (None, None) for one in (later, reference)):
            return self.likelihood(CellCondition(missing=True))
        if later is None or reference is None or later.missing or reference.missing:
            return None
        grid, (low, high), (first, last) = self.grid(*clocks), _ends(later), _ends(reference)
        condition = CellCondition(
            low=None if low is None or last is None else int(grid.count(low)[0] - grid.start(last)[0]),
            high=None if high is None or first is None else int(grid.count(high)[0] - grid.start(first)[0]),
        )
        return None if condition == CellCondition() else (self.likelihood(condition) > 0).astype(np.float32)


def steps_after(grid: Grid, later: Dates, reference: Dates) -> NDArray[np.int64]:
    """Return how many steps dates are after those of the reference, `(n,)`."""
    return grid.count(later.ticks) - grid.start(reference.ticks)


def difference_key(of: str) -> str:
    """Return the name of a difference among the modelled columns, which no column of a table has."""
    return json.dumps({DIFFERENCE: of})


def step_in_words(column: DifferenceColumn, clock: Clock) -> str:
    """Return the largest of the usual units of time of which each step is a whole number."""
    units = {"days": 1, "hours": 24, "minutes": 1440, "seconds": 86_400}
    return next(
        (words for words, number in units.items() if column.units.step * number % clock.day == 0),
        "fractions of a second",
    )


def _ends(condition: CellCondition) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Return the first and the last tick that satisfy a condition on dates, `(1,)` each; None: there is no end."""
    if condition.values:
        return np.array([min(condition.values)], np.int64), np.array([max(condition.values)], np.int64)
    low = None if condition.low is None else np.array([int(np.ceil(condition.low))])
    high = None if condition.high is None else np.array([int(np.floor(condition.high))])
    return low, high
