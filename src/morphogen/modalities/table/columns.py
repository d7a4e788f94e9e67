"""One column of numbers as the cells of a field: few distinct numbers, or bins of many.

The last cell of every column stands for a missing value.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.space import Field

from .column import CellCondition, Cells, Column, Mask
from .units import Units

Place = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]  # units, from bottom, to before top


class Numbers(Column):
    """A column whose values have an order."""

    units: Units
    has_nan: bool  # whether NaN has a cell

    @abstractmethod
    def ranges(self) -> NDArray[np.float64]:
        """Return the lowest and the highest value of each cell, `(field.size, 2)`; infinite where there is no order."""

    def bounds(self, cells: Cells) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lowest and the highest value that each of these cells may hold, `(n,)` each."""
        low, high = self.ranges()[cells].T
        return low, high


class Values(Numbers):
    """Few distinct numbers: a cell for each frequent number, rising; a rare one goes to the nearest of them.

    NaN, where it occurs, has a cell after all numbers.
    """

    kind = "values"

    def __init__(self, units: Units, values: NDArray[Any]) -> None:
        """`values` in units, rising; NaN comes last."""
        self.units, self.values = units, values
        self.ordered = values[~np.isnan(values)]
        self.has_nan = len(self.ordered) < len(values)
        self.field = Field(len(values) + 1, ordered=len(self.ordered))

    def encode(self, values: Any, missing: Mask) -> Cells:
        counted = self.units.count(values)
        cells = _nearest(self.ordered, counted)
        if self.has_nan:
            cells = np.where(np.isnan(counted), len(self.ordered), cells)
        return np.where(missing, self.missing_cell, cells)

    def decode(self, cells: Cells, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        missing = cells == self.missing_cell
        if not len(self.values):
            return np.zeros(len(cells)), missing
        return self.units.restore(self.values[np.where(missing, 0, cells)]), missing

    def likelihood(self, condition: CellCondition) -> NDArray[np.float32]:
        return np.append(_satisfying(self.units.restore(self.values), condition), condition.missing).astype(np.float32)

    def ranges(self) -> NDArray[np.float64]:
        ranges = np.full((self.field.size, 2), [-np.inf, np.inf])
        ranges[: self.field.ordered] = self.units.restore(self.ordered)[:, None]
        return ranges

    def state(self) -> dict[str, Any]:
        return {"units": self.units.state(), "values": self.values.tolist()}


class Bins(Numbers):
    """Many numbers: cells of about equal mass; within a cell values are spread evenly.

    After these ordered cells come the `spikes` (values so frequent that they have a cell of their own, infinities and
    NaN). Cells of whole units are half-open.
    """

    kind = "bins"

    def __init__(self, units: Units, edges: NDArray[Any], spikes: NDArray[Any]) -> None:
        """`edges` `(cells + 1,)` in units, not falling."""
        self.units, self.edges, self.spikes = units, edges, spikes
        self.has_nan = bool(np.isnan(spikes).any())
        self.field = Field(len(edges) + len(spikes), ordered=len(edges) - 1)

    def encode(self, values: Any, missing: Mask) -> Cells:
        counted, ordered = self.units.count(values), self.field.ordered
        # Among cells without width, which begin at the same edge, a number is in the last one.
        at_least = np.maximum(counted, self.edges[0])
        cells = np.minimum(np.searchsorted(self.edges[:-1], at_least, side="right") - 1, ordered - 1)
        for cell, spike in enumerate(self.spikes, ordered):
            cells[np.isnan(counted) if np.isnan(spike) else counted == spike] = cell
        return np.where(missing, self.missing_cell, cells)

    def decode(self, cells: Cells, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        low, high = self._ends(cells)
        if self.units.whole:
            width = np.maximum(high - low, 1)
            counted = low + np.minimum((inside * width).astype(np.int64), width - 1)
        else:
            counted = low + inside * (high - low)
        for cell, spike in enumerate(self.spikes, self.field.ordered):
            counted[cells == cell] = spike
        return self.units.restore(counted), cells == self.missing_cell

    def likelihood(self, condition: CellCondition) -> NDArray[np.float32]:
        """Return P(a value satisfies the condition | its cell): where a range cuts a cell, the share inside."""
        satisfied = np.zeros(self.field.size, dtype=np.float32)
        shares = satisfied[: self.field.ordered]
        if condition.low is not None or condition.high is not None:
            shares[:] = self._shares(*self._counted(condition.low, condition.high))
        lowest, highest = self.units.restore(self.edges[[0, -1]])
        for value in condition.values or ():
            if not lowest <= value <= highest:  # beyond the range of the units, maybe, or NaN
                continue
            counted = self.units.count(np.array([value]))
            if self.units.restore(counted)[0] == value and not (self.spikes == counted).any():
                shares[:] = np.maximum(shares, self._density(counted))
        satisfied[self.field.ordered : -1] = _satisfying(self.units.restore(self.spikes), condition)
        satisfied[self.missing_cell] = condition.missing
        return satisfied

    def ranges(self) -> NDArray[np.float64]:
        ordered = self.field.ordered
        low, high = self.edges[:-1], self.edges[1:]
        if self.units.whole:
            high = np.maximum(low, high - 1)
        ranges = np.full((self.field.size, 2), [-np.inf, np.inf])
        ranges[:ordered] = np.stack((self.units.restore(low), self.units.restore(high)), axis=1)
        spikes = self.units.restore(self.spikes).astype(np.float64)[:, None]
        ranges[ordered:-1] = np.where(np.isnan(spikes), ranges[ordered:-1], spikes)
        return ranges

    def within(
        self,
        values: NDArray[Any],
        cells: Cells,
        inside: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        *,
        place: Place | None = None,
    ) -> NDArray[Any]:
        """Return decoded values, those in ordered cells moved to the part of their cell from low to high inclusive.

        Of whole units, `place` may choose others in the same part.
        """
        least, most = self._counted(low, high)
        bottom, top = self._ends(cells)
        bottom = np.maximum(bottom, least)
        if self.units.whole:
            width = np.maximum(np.minimum(top, most + 1) - bottom, 1)
            counted = bottom + np.minimum((inside * width).astype(np.int64), width - 1)
            counted = counted if place is None else place(counted, bottom, bottom + width)
        else:
            counted = bottom + inside * np.maximum(np.minimum(top, most) - bottom, 0)
        moved = self.units.restore(counted)
        if not self.units.whole:  # rounding to the column's digits must not leave the range again
            moved = np.where((moved < low) | (moved > high), counted, moved)
        return np.where(cells < self.field.ordered, moved, values)

    def _ends(self, cells: Cells) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return both edges of each cell, in units; for cells without an order those of the last ordered cell."""
        cell = np.minimum(cells, self.field.ordered - 1)
        return self.edges[cell], self.edges[cell + 1]

    def _counted(self, low: Any, high: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return both ends in units, None being infinite; of whole units the first and the last inside."""
        ends = [
            np.asarray(end if end is not None else default, dtype=None if self.units.whole else np.float64)
            for end, default in ((low, -np.inf), (high, np.inf))
        ]
        if not self.units.whole:
            return ends[0], ends[1]
        first, last = int(self.edges[0]), int(self.edges[-1])
        return self._whole(ends[0], first, last, up=True), self._whole(ends[1], first, last, up=False)

    def _whole(self, end: NDArray[Any], first: int, last: int, *, up: bool) -> NDArray[np.int64]:
        """Return the next whole unit up or down, at most one unit beyond the edges."""
        offset, step = self.units.offset, self.units.step
        if end.dtype.kind in "iu" and self.units.digits <= 0:
            shifted = end.astype(np.int64) - offset
            whole = -(-shifted // step) if up else shifted // step
        else:
            end = np.clip(end.astype(np.float64), -1e300, 1e300)
            exact = (end * 10.0 ** max(0, self.units.digits) - offset) / step
            near = np.rint(exact)
            is_whole = np.abs(exact - near) < 1e-9 * np.maximum(1.0, np.abs(exact))
            rounded = np.where(is_whole, near, np.ceil(exact) if up else np.floor(exact))
            whole = np.clip(rounded, first - 1, last + 1).astype(np.int64)
        return np.clip(whole, first - 1, last + 1)

    def _shares(self, low: Any, high: Any) -> NDArray[np.float32]:
        """Return the share of each ordered cell from low to high inclusive, `(field.ordered,)`."""
        bottom, top = self.edges[:-1], self.edges[1:]
        wide = top > bottom
        if self.units.whole:
            inside = np.maximum(np.minimum(top, high + 1) - np.maximum(bottom, low), 0)
            return np.where(wide, inside / np.maximum(top - bottom, 1), 0).astype(np.float32)
        share = np.clip(np.minimum(top, high) - np.maximum(bottom, low), 0, None) / np.where(wide, top - bottom, 1)
        return np.where(wide, share, (bottom >= low) & (bottom <= high)).astype(np.float32)

    def _density(self, counted: NDArray[Any]) -> NDArray[np.float32]:
        """Return P(a value is this one | its cell), up to a factor where units are not whole."""
        if self.units.whole:
            return self._shares(counted, counted)
        density = np.zeros(self.field.ordered)
        cell = int(self.encode(self.units.restore(counted), np.zeros(1, np.bool_))[0])
        widths = np.diff(self.edges)
        density[cell] = widths[widths > 0].min(initial=1) / widths[cell] if widths[cell] > 0 else 1
        return np.clip(density, 0, 1).astype(np.float32)

    def state(self) -> dict[str, Any]:
        return {"units": self.units.state(), "edges": self.edges.tolist(), "spikes": self.spikes.tolist()}


def _satisfying(values: NDArray[Any], condition: CellCondition) -> NDArray[np.bool_]:
    """Return which values satisfy the condition."""
    satisfied = np.zeros(len(values), dtype=np.bool_)
    if condition.low is not None or condition.high is not None:
        low = -np.inf if condition.low is None else condition.low
        high = np.inf if condition.high is None else condition.high
        satisfied |= (values >= low) & (values <= high)
    for value in condition.values or ():
        satisfied |= values == value
    return satisfied


def _nearest(ordered: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the index of the nearest of rising values, which may begin or end with an infinity."""
    if len(ordered) < 2:
        return np.zeros(len(values), dtype=np.int64)
    above = np.clip(np.searchsorted(ordered, values), 1, len(ordered) - 1)
    below = ordered[above - 1]
    with np.errstate(invalid="ignore"):
        lower = (values == below) | (values - below <= ordered[above] - values)
    return above - lower
