"""Numbers moved within their cells until conditions and the order of columns hold to the last digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Bins, CellCondition, Numbers

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


def repair(
    numbers: Mapping[str, NumberColumn],
    conditions: Mapping[str, CellCondition],
    orders: Mapping[tuple[str, str], tuple[bool, str]],
) -> None:
    """Move values in place; `orders` is the transitive closure of the order constraints (see `constraints.closure`)."""
    pairs = {pair: strict for pair, (strict, _) in orders.items()}
    ends = {}
    for name in {*conditions, *(name for pair in orders for name in pair)} & set(numbers):
        one, condition = numbers[name], conditions.get(name, CellCondition())
        low, high = (np.where(one.fixed, one.values, end) for end in one.column.bounds(one.cells))
        low = np.maximum(low, -np.inf if condition.low is None else condition.low)
        high = np.minimum(high, np.inf if condition.high is None else condition.high)
        ends[name] = _choose_value(low, high, one.inside, condition.values) if condition.values else (low, high)
    ends = _leave_room(ends, pairs)
    # The lowest column first: each higher one then begins where the lower values lie.
    for name in sorted(ends, key=lambda name: sum(higher == name for _, higher in pairs)):
        one, (low, high) = numbers[name], ends[name]
        for (lower, higher), strict in pairs.items():
            if higher == name:
                below = np.where(numbers[lower].missing, -np.inf, numbers[lower].values.astype(np.float64))
                low = np.fmax(low, np.nextafter(below, np.inf) if strict else below)
        if isinstance(one.column, Bins):
            moved = one.column.within(one.values, one.cells, one.inside, low, high)
            one.values = np.where(one.fixed, one.values, moved)
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


def _choose_value(
    low: NDArray[np.float64], high: NDArray[np.float64], inside: NDArray[np.float64], values: Sequence[float]
) -> Ends:
    """Return the ends, both moved to one of `values` wherever some of them lie between the two."""
    choices = np.asarray(values, dtype=np.float64)
    fits = (low[:, None] <= choices) & (choices <= high[:, None])
    number = (inside * fits.sum(1)).astype(np.int64)  # of the choice, among those that fit
    choice = choices[(fits.cumsum(1) > number[:, None]).argmax(1)]
    return np.where(fits.any(1), choice, low), np.where(fits.any(1), choice, high)


def _next(values: NDArray[Any], strict: bool, sign: int) -> NDArray[Any]:
    """Return the values themselves or, where the order is strict, the next ones up or down."""
    if not strict:
        return values
    return values + sign if values.dtype.kind == "i" else np.nextafter(values, sign * np.inf)
