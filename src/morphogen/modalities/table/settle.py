"""Numbers are moved within their cells to where conditions and the order of columns are met to the last digit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Bins, Numbers, Wanted
from .limits import ordered


@dataclass
class Drawn:
    """The cells of a column of numbers, while they may still be moved."""

    column: Numbers
    symbols: NDArray[np.int64]
    inside: NDArray[np.float64]
    values: NDArray[Any]
    missing: NDArray[np.bool_]
    fixed: NDArray[np.bool_]  # given, and not to be moved


def _next(values: NDArray[Any], strict: bool, sign: int) -> NDArray[Any]:
    """The values themselves or, strictly, the next ones up or down."""
    if not strict:
        return values
    return values + sign if values.dtype.kind == "i" else np.nextafter(values, sign * np.inf)


def settle(
    numbers: dict[str, Drawn], wanted: Mapping[str, Any], orders: Mapping[tuple[str, str], tuple[bool, str]]
) -> None:
    """Numbers are moved within their cells to where conditions and the order of columns are met."""
    ends = {}
    for name in {*wanted, *(name for pair in orders for name in pair)} & set(numbers):
        one = numbers[name]
        low, high = one.column.bounds(one.symbols)
        low, high = (np.where(one.fixed, one.values, end) for end in (low, high))
        asked = wanted.get(name, Wanted())
        low = np.maximum(low, -np.inf if asked.low is None else asked.low)
        ends[name] = low, np.minimum(high, np.inf if asked.high is None else asked.high)
    pairs = {pair: strict for pair, (strict, _) in orders.items()}
    ends = ordered(ends, pairs)
    # The lowest first, for what is higher has to leave it below.
    for name in sorted(ends, key=lambda name: sum(higher == name for _, higher in pairs)):
        one, (low, high) = numbers[name], ends[name]
        for (lower, higher), strict in pairs.items():
            if higher == name:
                below = np.where(numbers[lower].missing, -np.inf, numbers[lower].values.astype(np.float64))
                low = np.fmax(low, np.nextafter(below, np.inf) if strict else below)
        if isinstance(one.column, Bins):
            moved = one.column.within(one.values, one.symbols, one.inside, low, high)
            one.values = np.where(one.fixed, one.values, moved)
    # Where one is given, the other's cell may end a little too soon.
    for (lower, higher), strict in pairs.items():
        a, b = numbers[lower], numbers[higher]
        there = ~a.missing & ~b.missing
        b.values = np.where(there & ~b.fixed, np.maximum(b.values, _next(a.values, strict, 1)), b.values)
        a.values = np.where(there & ~a.fixed, np.minimum(a.values, _next(b.values, strict, -1)), a.values)
