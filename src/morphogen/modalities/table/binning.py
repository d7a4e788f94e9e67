"""The cells of a column of numbers, placed so that none of them tells a number of fewer than `rare` rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .column import Mask
from .columns import Bins, Values
from .units import Units, find_units

SUBBINS = 8  # cells of about equal mass in each bin
_ROWS_PER_BIN = 200
_LEAST_BINS = 16
_FREQUENT = 0.9  # share of the rows whose numbers are frequent, from which on only these are modelled
_SPIKE = 0.01  # share of the rows from which on a number has a cell of its own beside intervals


def fit_numbers(values: NDArray[Any], missing: Mask, units: Units, *, bins: int, rare: int) -> Values | Bins:
    """Return the column of these numbers: Values where there are few distinct ones, else Bins.

    Numbers of fewer than `rare` rows have no cell of their own, infinities and NaN included. Every edge is the mean of
    `rare` numbers next to each other, and the first and the last one leave out the `rare - 1` numbers beyond them.
    """
    counted = units.count(values[~missing])
    is_float = counted.dtype.kind == "f"
    finite = counted[np.isfinite(counted)] if is_float else counted
    special, special_counts = np.unique(counted[~np.isfinite(counted)] if is_float else counted[:0], return_counts=True)
    special = special[special_counts >= rare]
    distinct, counts = np.unique(finite, return_counts=True)
    frequent = counts >= rare
    if len(distinct) <= 2 * bins and counts[frequent].sum() >= _FREQUENT * len(finite):
        return Values(units, np.unique(np.concatenate((distinct[frequent], special))))
    spikes = distinct[counts > max(_SPIKE * len(counted), rare)]
    rest = np.sort(finite[~np.isin(finite, spikes)])
    if len(rest) < rare:
        return Values(units, np.unique(np.concatenate((spikes, special))))
    count = SUBBINS * int(np.clip(len(rest) // _ROWS_PER_BIN, min(_LEAST_BINS, bins), bins))
    return Bins(units, _edges(rest, count, rare, whole=units.whole), np.concatenate((spikes, special)))


def protected_units(values: NDArray[Any], rare: int) -> Units:
    """Return the units of values of which none is missing; the step of a few rare numbers would tell them, and is 1."""
    units = find_units(values)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2 * rare and (counts < rare).any() and units.whole:
        return replace(units, offset=0, step=1)
    return units


def _edges(ordered: NDArray[Any], cells: int, rare: int, *, whole: bool) -> NDArray[Any]:
    """Return the rising edges of at most `cells` cells of about equal mass, of at least `rare` numbers each."""
    spare = rare - 1 if len(ordered) >= 4 * rare else 0  # beyond the first and the last edge
    inner = ordered[spare : len(ordered) - spare]
    count = max(1, min(cells, len(inner) // rare))
    at = (np.arange(count + 1) * len(inner)) // count
    starts = np.clip(at - rare // 2, 0, len(inner) - rare)
    windows = inner[starts[:, None] + np.arange(rare)]
    base = windows[:, :1]  # large whole numbers are not exact as floats, their differences are
    means = (windows - base).astype(np.float64).mean(1)
    edges = np.unique(base[:, 0] + (np.rint(means).astype(np.int64) if whole else means))
    if whole:  # half-open
        edges[-1] += 1
    return edges if len(edges) > 1 else np.array([edges[0] - whole, edges[0]], dtype=edges.dtype)
