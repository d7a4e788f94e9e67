"""Numbers moved within their cells until conditions and the order of columns hold to the last digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .column import CellCondition
from .columns import Bins, Numbers
from .date_parts import Wishes
from .following_dates import Following

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass
class NumberColumn:
    """Decoded values of one column of numbers, while they may still be moved."""

    column: Numbers
    cells: NDArray[np.int64]
    inside: NDArray[np.float64]
    values: NDArray[Any]
    missing: NDArray[np.bool_]
    fixed: NDArray[np.bool_]  # given, not to be moved
    wishes: Wishes | None = None  # of dates, which parts they should have
    following: Following | None = None  # of dates, how far they are from those of another column


def repair(
    numbers: Mapping[str, NumberColumn],
    conditions: Mapping[str, CellCondition],
    orders: Mapping[tuple[str, str], tuple[bool, str]],
) -> None:
    """Move values in place; `orders` is the transitive closure of the order constraints (see `constraints.closure`)."""
    pairs = {pair: strict for pair, (strict, _) in orders.items()}
    names = {*conditions, *(name for pair in orders for name in pair)} & set(numbers)
    exact = {
        name: _choose_value(numbers[name], one.values)
        for name, one in conditions.items()
        if name in names and one.values
    }
    wanted = {name: _wanted_ends(one, conditions.get(name), exact.get(name)) for name, one in numbers.items()}
    moved = _leave_room_for_distances(wanted, numbers)
    ends = {
        name: _ends_in_cells(one, wanted[name], exact.get(name), name in moved)
        for name, one in numbers.items()
        if name in names | moved or one.following is not None
    }
    ends = _leave_room(ends, pairs)
    # The lowest column first: each higher one then begins where the lower values lie.
    for name in _in_order(ends, pairs, numbers):
        one, (low, high) = numbers[name], ends[name]
        for (lower, higher), strict in pairs.items():
            if higher == name:
                below = np.where(numbers[lower].missing, -np.inf, numbers[lower].values.astype(np.float64))
                low = np.fmax(low, np.nextafter(below, np.inf) if strict else below)
        one.values = np.where(one.fixed, one.values, _moved(one, (low, high), numbers, name in moved))
        if name in exact and not any(name in pair for pair in pairs):
            # Ends are floats, which may lack the last digits of a whole number.
            one.values = np.where(exact[name][0], exact[name][1], one.values)
    # Where one value is given, the cell of the other may end a little too soon.
    for (lower, higher), strict in pairs.items():
        a, b = numbers[lower], numbers[higher]
        present = ~a.missing & ~b.missing
        b.values = np.where(present & ~b.fixed, np.maximum(b.values, _next(a.values, strict, 1)), b.values)
        a.values = np.where(present & ~a.fixed, np.minimum(a.values, _next(b.values, strict, -1)), a.values)


def _moved(one: NumberColumn, ends: Ends, numbers: Mapping[str, NumberColumn], outside: bool) -> NDArray[Any]:
    """Return the values between the ends, in their cells unless these lie `outside`, or at their distance."""
    values, (low, high) = one.values, ends
    if isinstance(one.column, Bins):
        place = None if one.wishes is None else one.wishes.place
        values = one.column.within(values, one.cells, one.inside, low, high, place=place)
    if outside:
        values = _moved_out_of_cells(one, values, ends)
    if one.following is not None:
        reference = numbers[one.following.reference].values
        values = one.following.place(one.column, one.cells, one.inside, values, reference, ends)
    return values


def _moved_out_of_cells(one: NumberColumn, values: NDArray[Any], ends: Ends) -> NDArray[Any]:
    """Return dates between the ends, where these are finite, with the wished parts where the cells do not reach."""
    low, high = ends
    rows = np.flatnonzero(np.isfinite(low) & np.isfinite(high) & ~one.missing & ((values < low) | (values > high)))
    bottom, top = one.column.units.between(low[rows].astype(np.int64), high[rows].astype(np.int64))
    rows, bottom, top = (array[bottom <= top] for array in (rows, bottom, top))
    counted = np.clip(one.column.units.count(values[rows]), bottom, top)
    if one.wishes is not None and len(rows):
        counted = one.wishes.select(rows).place(counted, bottom, top + 1)
    moved = values.copy()
    moved[rows] = one.column.units.restore(counted)
    return moved


def _wanted_ends(
    one: NumberColumn, condition: CellCondition | None, exact: tuple[NDArray[np.bool_], NDArray[Any]] | None
) -> Ends:
    """Return between which ends conditions and given values want each value, whatever its cell."""
    condition = condition or CellCondition()
    low = np.where(one.fixed, one.values, -np.inf if condition.low is None else condition.low)
    high = np.where(one.fixed, one.values, np.inf if condition.high is None else condition.high)
    if exact is None:
        return low, high
    return np.where(exact[0], exact[1], low), np.where(exact[0], exact[1], high)


def _ends_in_cells(
    one: NumberColumn, wanted: Ends, exact: tuple[NDArray[np.bool_], NDArray[Any]] | None, outside: bool
) -> Ends:
    """Return the part of the wanted ends that lies in the cells of the values.

    The ends of dates at a distance from others are wanted as they are, as are those that lie `outside` of the cell.
    """
    own = one.column.bounds(one.cells)
    free = one.fixed if exact is None else one.fixed | exact[0]
    low, high = np.maximum(own[0], wanted[0]), np.minimum(own[1], wanted[1])
    if one.following is not None:
        free = free | one.following.active
    if outside:
        free = free | (low > high)
    return np.where(free, wanted[0], low), np.where(free, wanted[1], high)


def _leave_room_for_distances(wanted: dict[str, Ends], numbers: Mapping[str, NumberColumn]) -> set[str]:
    """Narrow the ends of dates, in place, so that those at a distance from them lie in theirs; return what changed."""
    narrowed = set()
    for name in _references_last(numbers):
        following = numbers[name].following
        assert following is not None
        reference, (low, high) = following.reference, following.ends_of_reference(wanted[name])
        if not isinstance(numbers[reference].column, Bins) or not (np.isfinite(low) | np.isfinite(high)).any():
            continue
        low, high = np.maximum(low, wanted[reference][0]), np.minimum(high, wanted[reference][1])
        possible = low <= high
        wanted[reference] = (
            np.where(possible, low, wanted[reference][0]),
            np.where(possible, high, wanted[reference][1]),
        )
        narrowed.add(reference)
    return narrowed


def _references_last(numbers: Mapping[str, NumberColumn]) -> list[str]:
    """Return the columns that follow others, each before its reference."""
    depths = {}
    for name, one in numbers.items():
        depth, following = 0, one.following
        while following is not None:
            depth, following = depth + 1, numbers[following.reference].following
        if depth:
            depths[name] = depth
    return sorted(depths, key=lambda name: -depths[name])


def _in_order(
    ends: Mapping[str, Ends], pairs: Mapping[tuple[str, str], bool], numbers: Mapping[str, NumberColumn]
) -> list[str]:
    """Return the names, each after those that are lower, and after its reference."""
    before = {name: {lower for lower, higher in pairs if higher == name} & set(ends) for name in ends}
    for name in ends:
        following = numbers[name].following
        if following is not None and following.reference in ends:
            before[name].add(following.reference)
    ordered: list[str] = []
    while rest := [name for name in ends if name not in ordered]:
        ready = [name for name in rest if before[name] <= set(ordered)]
        ordered.append((ready or rest)[0])
    return ordered


def _leave_room(ends: Mapping[str, Ends], pairs: Mapping[tuple[str, str], bool]) -> dict[str, Ends]:
    """Return the ends with each lower column's highest value small enough for every higher column."""
    narrowed = {name: (low.copy(), high.copy()) for name, (low, high) in ends.items()}
    for _ in range(len(narrowed)):
        for (lower, higher), strict in pairs.items():
            low, high = narrowed[lower]
            top = np.nextafter(narrowed[higher][1], -np.inf) if strict else narrowed[higher][1]
            both = np.isfinite(high) & np.isfinite(narrowed[higher][1])
            narrowed[lower] = low, np.where(both, np.minimum(high, top), high)
    return narrowed


def _choose_value(one: NumberColumn, values: Sequence[float]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return where any of `values` is in the cell of the column, and one of these, as the column has it."""
    kind = np.int64 if one.values.dtype.kind == "i" else np.float64
    choices = np.array([value for value in values if kind is np.float64 or value == int(value)], dtype=kind)
    if not len(choices):
        return np.zeros(len(one.cells), np.bool_), one.values
    own_cells = one.column.encode(choices, np.zeros(len(choices), np.bool_))
    fits = (one.cells[:, None] == own_cells[None]) & ~one.fixed[:, None] & ~one.missing[:, None]
    if one.wishes is not None and len(choices) > 1:
        missed = np.stack([one.wishes.mismatch(np.full(len(fits), choice)) for choice in choices], axis=1)
        missed = np.where(fits, missed, np.iinfo(np.int64).max)
        fits &= missed == missed.min(1, keepdims=True)
    number = (one.inside * fits.sum(1)).astype(np.int64)  # of the choice, among those that fit
    choice = choices[(fits.cumsum(1) > number[:, None]).argmax(1)]
    return fits.any(1), choice


def _next(values: NDArray[Any], strict: bool, sign: int) -> NDArray[Any]:
    """Return the values themselves or, where the order is strict, the next ones up or down."""
    if not strict:
        return values
    return values + sign if values.dtype.kind == "i" else np.nextafter(values, sign * np.inf)
