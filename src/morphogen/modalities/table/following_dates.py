"""Decoded dates and times that follow those of a reference, at the distance that was sampled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .column import Cells, Mask
from .columns import Bins, Numbers, Values
from .date_parts import Counted, Wishes, outer_units
from .differences import Grid, dated_range

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]
Steps = NDArray[np.int64]
Span = tuple[Steps, Steps]  # from the first to the last, inclusive
_BEYOND = 2**61  # steps, after any


@dataclass(frozen=True)
class Following:
    """The distance of each date or time from its reference, from `low` to `high` inclusive, `(B,)` each."""

    reference: str
    grid: Grid
    numbers: Values | Bins  # the differences
    low: Steps
    high: Steps
    active: Mask  # whether both dates are present
    ordered: bool  # whether no date is before its reference
    wishes: Wishes | None = None

    def place(
        self,
        column: Numbers,
        cells: Cells,
        inside: NDArray[np.float64],
        values: NDArray[np.int64],
        reference: NDArray[np.int64],
        ends: Ends,
    ) -> NDArray[np.int64]:
        """Return dates or times at their distance from those of the reference, `values` where they have none.

        They lie between the `ends`, in ticks, and, where the distance leaves a choice, in their own cells.
        """
        start, own = self.grid.start(reference), self._own_steps(column, cells)
        bottom, top = _overlap(self._span(column, start, own), self._steps(ends, -_BEYOND, _BEYOND))
        bottom, top = _overlap((bottom, top), own, nearest=False)
        if self.grid.days:
            placed = self._at_any_time(column, inside, reference, (bottom, top), ends)
        else:
            steps = self._chosen(inside, bottom, top, self.grid)
            steps = start + self.numbers.units.restore(self.numbers.units.count(steps - start))
            placed = self.grid.restore(np.clip(steps, bottom, top))
        if isinstance(column, Values):  # of which no rare one is output
            placed, _ = column.decode(column.encode(placed, np.zeros(len(placed), np.bool_)), inside)
            placed = np.where((placed < ends[0]) | (placed > ends[1]), values, placed)
        return np.where(self.active, placed, values)

    def _span(self, column: Numbers, start: Steps, own: Span) -> Span:
        """Return the first and the last step that are at the distance, and among the dates of the data.

        Where no date of the data is, the distance may be any other one.
        """
        first, last = self.grid.count(dated_range(column))
        low, high = np.maximum(start + self.low, first), np.minimum(start + self.high, last)
        least, most = self.numbers.units.restore(outer_units(self.numbers))
        other = _overlap(own, (start + least, start + most))
        return np.where(low > high, other[0], low), np.where(low > high, other[1], high)

    def _at_any_time(
        self, column: Numbers, inside: NDArray[np.float64], reference: NDArray[np.int64], span: Span, ends: Ends
    ) -> NDArray[np.int64]:
        """Return times on the days of a span, between the ends."""
        low, high = self.grid.restore(span[0]), self.grid.restore(span[1] + 1) - 1
        if self.ordered:
            low = np.minimum(np.maximum(low, self.grid.at(reference)), high)
        low, high = _overlap((low, high), self._within(ends, -_BEYOND, _BEYOND))
        units = column.units
        bottom, top = units.between(low, high)
        return units.restore(self._chosen(inside, bottom, np.maximum(top, bottom), units))

    def _chosen(self, inside: NDArray[np.float64], bottom: Steps, top: Steps, steps: Counted) -> Steps:
        """Return one of the steps from bottom to top, with the wished parts where there are any."""
        chosen = bottom + np.minimum((inside * (top - bottom + 1)).astype(np.int64), top - bottom)
        return chosen if self.wishes is None else replace(self.wishes, units=steps).place(chosen, bottom, top + 1)

    def ends_of_reference(self, ends: Ends) -> Ends:
        """Return between which ticks the reference has to lie for dates or times to lie between theirs."""
        finite = [np.isfinite(end) & self.active for end in ends]
        low, high = self._steps(ends, 0, 0)
        first, last = self.grid.references(
            np.where(finite[0], low - self.high, 0), np.where(finite[1], high - self.low, 0)
        )
        if self.ordered:
            last = np.minimum(last, self.grid.reference_at(np.where(finite[1], self._within(ends, 0, 0)[1], 0)))
        return np.where(finite[0], first, -np.inf), np.where(finite[1], last, np.inf)

    def _own_steps(self, column: Numbers, cells: Cells) -> Span:
        """Return the first and the last step in each cell; those of the column where a cell has no ends."""
        first, last = self.grid.count(dated_range(column))
        return self._steps(column.bounds(cells), first, last)

    def _steps(self, ends: Ends, first: int, last: int) -> Span:
        """Return the first and the last step between two ends in ticks; `first` and `last` where these are infinite."""
        low, high = (self.grid.count(end) for end in self._within(ends, 0, 0))
        if not self.grid.days:
            low = low + (self.grid.restore(low) < ends[0])
        return np.where(np.isfinite(ends[0]), low, first), np.where(np.isfinite(ends[1]), high, last)

    def _within(self, ends: Ends, first: int, last: int) -> Span:
        """Return both ends as whole ticks; `first` and `last` where these are infinite."""
        low, high = (np.where(np.isfinite(end), end, 0).astype(np.int64) for end in ends)
        return np.where(np.isfinite(ends[0]), low, first), np.where(np.isfinite(ends[1]), high, last)


def _overlap(span: Span, limits: Span, *, nearest: bool = True) -> Span:
    """Return the part of a span inside the limits; where there is none the limit that is nearest, or the whole span."""
    low, high = np.maximum(span[0], limits[0]), np.minimum(span[1], limits[1])
    apart = low > high
    if not nearest:
        return np.where(apart, span[0], low), np.where(apart, span[1], high)
    end = np.where(span[0] > limits[1], limits[1], limits[0])
    return np.where(apart, end, low), np.where(apart, end, high)
