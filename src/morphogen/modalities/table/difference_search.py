"""Which columns of dates or times follow another one closely, and so are modelled by their difference from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .binning import fit_numbers, protected_units
from .column import Column, Mask
from .columns import Numbers, Values
from .date_parts import FEW, Clock, DatePartColumn
from .differences import Dates, DifferenceColumn, Grid, difference_key, steps_after
from .options import Options
from .units import Units, to_numbers

_LEAST_ROWS = 20  # with both dates
_CLOSE = 0.5  # spread of a difference beside that of either date, up to which it says more than the date
_EXAMINED = 50_000  # rows that the spreads are computed from
_SHORT = 0.5  # days, from which on a spread of the differences of times makes them differences of days
_OPEN = 0.05  # share of the rows whose part of a date is left open, from which on the part keeps a field
_ROOM = {"hour": 1 / 24, "weekday": 1.0, "month": 7.0}  # days, within which a difference leaves a part little choice

Orders = Mapping[tuple[str, str], Any]


def with_differences(table: Any, columns: Mapping[str, Column], orders: Orders, options: Options) -> dict[str, Column]:
    """Return the columns with a difference before each column of dates that follows another one closely.

    Such a column loses the parts that follow from the difference. `orders` has the pairs (lower, higher) that rows
    satisfy.
    """
    dates = {}
    for name, column in columns.items():
        clock = Clock.of(table.schema.field(name).type) if name in table.schema.names else None
        if clock is not None and isinstance(column, Numbers):
            dates[name] = Dates(column, *to_numbers(table.column(name)), clock)
    differences, without = {}, set()
    for name, reference in _references(dates, orders).items():
        by_hour = any(
            isinstance(one, DatePartColumn) and (one.of, one.part) == (name, "hour") for one in columns.values()
        )
        one = _difference(name, reference, dates, options, by_hour=by_hour)
        if one is not None:
            differences[name] = one
            without |= {(name, part) for part in _settled(one, dates[name], dates[reference])}
    result: dict[str, Column] = {}
    for name, column in columns.items():
        if isinstance(column, DatePartColumn) and (column.of, column.part) in without:
            continue
        if name in differences:
            result[difference_key(name)] = differences[name]
        result[name] = column
    return result


def _references(dates: Mapping[str, Dates], orders: Orders) -> dict[str, str]:
    """Return for each column that follows others closely the earlier one to which its distance varies least."""
    references: dict[str, str] = {}
    for _, earlier, later in sorted(_close_pairs(dates, orders), key=lambda pair: pair[0]):
        root = earlier
        while root in references:
            root = references[root]
        if later not in references and root != later:
            references[later] = earlier
    return references


def _close_pairs(dates: Mapping[str, Dates], orders: Orders) -> Iterator[tuple[float, str, str]]:
    """Yield the spread of the difference of two columns, the earlier and the later one, where they are close."""
    days, present = {}, {}
    for name, one in dates.items():
        every = slice(None, None, -(-len(one.ticks) // _EXAMINED))
        some = Dates(one.column, one.ticks[every], one.missing[every], one.clock)
        days[name] = some.clock.local(np.where(some.missing, 0, some.ticks)) / some.clock.day
        present[name] = some.have_differences()
    for name, other in combinations(dates, 2):
        both = present[name] & present[other]
        if both.sum() < _LEAST_ROWS:
            continue
        difference = days[other][both] - days[name][both]
        spread = _spread(difference)
        if spread > _CLOSE * min(_spread(days[name][both]), _spread(days[other][both])):
            continue
        middle = np.median(difference) or difference.mean()
        backward = (other, name) in orders or (middle < 0 and (name, other) not in orders)
        yield (spread, other, name) if backward else (spread, name, other)


def _spread(values: NDArray[np.float64]) -> float:
    """Return the distance of the first and the last decile."""
    low, high = np.quantile(values, [0.1, 0.9])
    return float(high - low)


def _difference(
    name: str, reference: str, dates: Mapping[str, Dates], options: Options, *, by_hour: bool
) -> DifferenceColumn | None:
    """Return the difference of two columns; None where it has no frequent values, or dates have fewer.

    Of times that are modelled `by_hour`, too, the difference is one of days unless it varies by hours alone.
    """
    later, earlier = dates[name], dates[reference]
    missing = ~(later.have_differences() & earlier.have_differences())
    grid = _grid(later, earlier, missing, options.rare, by_hour=by_hour)
    steps = np.where(missing, 0, steps_after(grid, later, earlier))
    differences = protected_units(steps[~missing], options.rare)
    numbers = fit_numbers(steps, missing, differences, bins=options.bins, rare=options.rare)
    few = isinstance(later.column, Values) and later.column.field.ordered <= FEW
    if not numbers.field.ordered or (few and numbers.field.ordered >= later.column.field.ordered):
        return None
    ordered = bool((later.ticks >= grid.at(earlier.ticks))[~missing].all())
    return DifferenceColumn(name, reference, numbers, grid.units, local=grid.local, days=grid.days, ordered=ordered)


def _grid(later: Dates, earlier: Dates, missing: Mask, rare: int, *, by_hour: bool) -> Grid:
    """Return the steps in which two columns are counted, whose difference is `missing` in some rows."""
    local = later.clock.local(np.where(missing, 0, later.ticks))[~missing]
    units, clocks = protected_units(local, rare), (later.clock, earlier.clock)
    if units.step % later.clock.day == 0:
        return Grid(*clocks, units, local=True, days=False)
    days = Grid(*clocks, Units(step=later.clock.day), local=True, days=True)
    elapsed = (later.ticks - days.at(earlier.ticks))[~missing] / later.clock.day
    if by_hour and _spread(elapsed) >= _SHORT:
        return days
    if later.clock.zone and earlier.clock.zone:  # elapsed time, whatever the clocks do
        return Grid(*clocks, protected_units(later.ticks[~missing], rare), local=False, days=False)
    return Grid(*clocks, units, local=True, days=False)


def _settled(one: DifferenceColumn, later: Dates, reference: Dates) -> list[str]:
    """Return the parts of the later dates that follow from the reference and the difference in nearly all rows."""
    cells = one.encode_dates(later, reference)[~later.missing]
    low, high = one.numbers.bounds(cells)
    room = np.where(cells == one.missing_cell, np.inf, (high - low) * one.units.step / later.clock.day)
    parts = [part for part, most in _ROOM.items() if (room >= most).mean() <= _OPEN]
    return [part for part in parts if part != "hour" or not one.days]
