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


def repair(
    numbers: Mapping[str, NumberColumn],
    conditions: Mapping[str, CellCondition],
    orders: Mapping[tuple[str, str], tuple[bool, str]],
) -> None:
    """Move values in place; `orders` is the transitive closure of the order constraints (see `constraints.closure`)."""
    pairs = {pair: strict for pair, (strict, _) in orders.items()}
    ends, exact = {}, {}
    for name in {*conditions, *(name for pair in orders for name in pair)} & set(numbers):
        one, condition = numbers[name], conditions.get(name, CellCondition())
        low, high = (np.where(one.fixed, one.values, end) for end in one.column.bounds(one.cells))
        low = np.maximum(low, -np.inf if condition.low is None else condition.low)
        high = np.minimum(high, np.inf if condition.high is None else condition.high)
        ends[name] = low, high
        if condition.values:
            exact[name] = _choose_value(one, condition.values)
            chosen, values = exact[name]
            ends[name] = np.where(chosen, values, low), np.where(chosen, values, high)
    ends = _leave_room(ends, pairs)
    # The lowest column first: each higher one then begins where the lower values lie.
    for name in sorted(ends, key=lambda name: sum(higher == name for _, higher in pairs)):
        one, (low, high) = numbers[name], ends[name]
        for (lower, higher), strict in pairs.items():
            if higher == name:
                below = np.where(numbers[lower].missing, -np.inf, numbers[lower].values.astype(np.float64))
                low = np.fmax(low, np.nextafter(below, np.inf) if strict else below)
        if isinstance(one.column, Bins):
            place = None if one.wishes is None else one.wishes.place
            moved = one.column.within(one.values, one.cells, one.inside, low, high, place=place)
            one.values = np.where(one.fixed, one.values, moved)
        if name in exact and not any(name in pair for pair in pairs):
            # Ends are floats, which may lack the last digits of a whole number.
            one.values = np.where(exact[name][0], exact[name][1], one.values)
    # Where one value is given, the cell of the other may end a little too soon.
    for (lower, higher), strict in pairs.items():
        a, b = numbers[lower], numbers[higher]
        present = ~a.missing & ~b.missing
        b.values = np.where(present & ~b.fixed, np.maximum(b.values, _next(a.values, strict, 1)), b.values)
        a.values = np.where(present & ~a.fixed, np.minimum(a.values, _next(b.values, strict, -1)), a.values)


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
