"""One column as symbols: categories, few values, or bins of many; each with how likely a cell meets a condition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .units import Units

SUBBINS = 8  # of about equal mass in each bin

Symbols = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """What a cell is asked to be: one of these values, from `low` to `high` inclusive, or missing."""

    values: tuple[Any, ...] | None = None
    low: float | int | None = None
    high: float | int | None = None
    missing: bool = False


class Column(ABC):
    """The cells of one column as one or two symbols each; only what `state` holds is kept of the data."""

    kind: ClassVar[str]
    alphabets: tuple[int, ...]

    @abstractmethod
    def encode(self, values: Any, missing: Mask) -> Symbols:
        """`(n, len(alphabets))`."""

    @abstractmethod
    def decode(self, symbols: Symbols, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        """Values, and which are missing; `inside` (n,) in [0, 1) is where in what its symbols stand for a cell lies."""

    @abstractmethod
    def chances(self, wanted: Wanted) -> list[NDArray[np.float32]]:
        """P(the cell is as wanted | its symbols so far): of the first symbol `(K,)`, of the second `(K, K2)`."""

    @abstractmethod
    def state(self) -> dict[str, Any]: ...


class Categories(Column):
    """Values without an order: each that is not rare has a symbol; the rare ones share one, and then `missing`."""

    kind = "categories"

    def __init__(self, values: Sequence[Any], counts: Sequence[int]) -> None:
        self.values, self.counts = list(values), np.asarray(counts, dtype=np.int64)
        self._index = {value: number for number, value in enumerate(self.values)}
        self.alphabets = (len(self.values) + 2,)

    @property
    def rare(self) -> int:
        return len(self.values)

    def encode(self, values: Any, missing: Mask) -> Symbols:
        found = np.array([self._index.get(value, self.rare) for value in values], dtype=np.int64)
        return np.where(missing, self.rare + 1, found)[:, None]

    def decode(self, symbols: Symbols, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        """A rare one becomes another, as often as that is found, so that no rare value is ever told."""
        drawn = symbols[:, 0].copy()
        rare = drawn == self.rare
        if rare.any():
            often = np.cumsum(self.counts) / max(1, self.counts.sum())
            drawn[rare] = np.minimum(np.searchsorted(often, inside[rare], side="right"), max(0, len(self.values) - 1))
        missing = drawn > self.rare
        table = np.array([*self.values, None, None], dtype=object)
        return table[np.where(missing, self.rare, drawn)], missing

    def chances(self, wanted: Wanted) -> list[NDArray[np.float32]]:
        found = np.zeros(self.alphabets[0], dtype=np.float32)
        for value in wanted.values or ():
            found[self._index[value]] = 1
        found[self.rare + 1] = wanted.missing
        return [found]

    def state(self) -> dict[str, Any]:
        return {"values": self.values, "counts": self.counts.tolist()}


class Values(Column):
    """Numbers of which there are few: each that is not rare has a symbol, in order; a rare one goes to the nearest."""

    kind = "values"

    def __init__(self, units: Units, values: NDArray[Any]) -> None:
        """`values` in units, rising; a NaN comes last."""
        self.units, self.values = units, values
        self._ordered = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        self.alphabets = (len(values) + 1,)

    def encode(self, values: Any, missing: Mask) -> Symbols:
        counted = self.units.count(values)
        found = _nearest(self._ordered, counted)
        if len(self._ordered) < len(self.values):
            found = np.where(np.isnan(counted), len(self._ordered), found)
        return np.where(missing, len(self.values), found)[:, None]

    def decode(self, symbols: Symbols, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        missing = symbols[:, 0] == len(self.values)
        if not len(self.values):
            return np.zeros(len(symbols)), missing
        return self.units.restore(self.values[np.where(missing, 0, symbols[:, 0])]), missing

    def chances(self, wanted: Wanted) -> list[NDArray[np.float32]]:
        real = self.units.restore(self.values)
        return [np.append(_within(real, wanted), wanted.missing).astype(np.float32)]

    def state(self) -> dict[str, Any]:
        return {"units": self.units.state(), "values": self.values.tolist()}


class Bins(Column):
    """Many numbers: bins of about equal mass, each of SUBBINS cells, and evenly inside of these.

    The first symbol is a bin, then come the `spikes`, values so frequent that they have one of their own, infinities
    and NaN, then `missing`; the second is the cell in the bin, or none. Whole units lie in half-open cells.
    """

    kind = "bins"

    def __init__(self, units: Units, edges: NDArray[Any], spikes: NDArray[Any]) -> None:
        """`edges` `(bins, SUBBINS + 1)` in units, not falling."""
        self.units, self.edges, self.spikes = units, edges, spikes
        self.alphabets = (len(edges) + len(spikes) + 1, SUBBINS + 1)
        self._lows = edges[:, :-1].ravel()

    def encode(self, values: Any, missing: Mask) -> Symbols:
        counted = self.units.count(values)
        cell = np.clip(np.searchsorted(self._lows, counted, side="right") - 1, 0, len(self._lows) - 1)
        first, second = cell // SUBBINS, cell % SUBBINS
        special = missing.copy()
        for number, spike in enumerate(self.spikes, len(self.edges)):
            same = np.isnan(counted) if spike != spike else counted == spike
            first[same] = number
            special |= same
        first[missing] = self.alphabets[0] - 1
        second[special] = SUBBINS
        return np.stack((first, second), axis=1)

    def decode(self, symbols: Symbols, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        first, second = symbols[:, 0], np.minimum(symbols[:, 1], SUBBINS - 1)
        bins = np.minimum(first, len(self.edges) - 1)
        low, high = self.edges[bins, second], self.edges[bins, second + 1]
        if self.units.whole:
            width = np.maximum(high - low, 1)
            found = low + np.minimum((inside * width).astype(np.int64), width - 1)
        else:
            found = low + inside * (high - low)
        for number, spike in enumerate(self.spikes, len(self.edges)):
            found[first == number] = spike
        return self.units.restore(found), first == self.alphabets[0] - 1

    def chances(self, wanted: Wanted) -> list[NDArray[np.float32]]:
        """What is wanted of a cell cut through is the share of it that lies within."""
        first = np.zeros(self.alphabets[0], dtype=np.float32)
        second = np.zeros(self.alphabets, dtype=np.float32)
        if wanted.low is not None or wanted.high is not None:
            low, high = self._counted(wanted)
            second[: len(self.edges), :SUBBINS] = self._shares(low, high)
        for value in wanted.values or ():
            counted = self.units.count(np.array([value]))[0]
            if not (self.spikes == counted).any():
                second[: len(self.edges), :SUBBINS] = np.maximum(
                    second[: len(self.edges), :SUBBINS], self._shares(counted, counted)
                )
        first[: len(self.edges)] = second[: len(self.edges)].max(axis=1) > 0
        real = self.units.restore(self.spikes)
        first[len(self.edges) : -1] = _within(real, wanted)
        first[-1] = wanted.missing
        second[len(self.edges) :, SUBBINS] = first[len(self.edges) :] > 0
        return [first, second]

    def within(
        self, values: NDArray[Any], symbols: Symbols, inside: NDArray[np.float64], wanted: Wanted
    ) -> NDArray[Any]:
        """Decoded values, those of cells cut through moved to the part of the cell that is wanted."""
        low, high = self._counted(wanted)
        found = self.units.count(values)
        binned = symbols[:, 0] < len(self.edges)
        bins, cell = np.minimum(symbols[:, 0], len(self.edges) - 1), np.minimum(symbols[:, 1], SUBBINS - 1)
        bottom, top = np.maximum(self.edges[bins, cell], low), self.edges[bins, cell + 1]
        if self.units.whole:
            width = np.maximum(np.minimum(top, high + 1) - bottom, 1)
            moved = bottom + np.minimum((inside * width).astype(np.int64), width - 1)
        else:
            moved = bottom + inside * np.maximum(np.minimum(top, high) - bottom, 0)
        return self.units.restore(np.where(binned, moved, found))

    def _counted(self, wanted: Wanted) -> tuple[Any, Any]:
        """Both ends in units; of whole ones the first and the last within."""
        edges = self.edges
        low, high = edges[0, 0], edges[-1, -1]
        if not self.units.whole:
            return (
                low if wanted.low is None else float(wanted.low),
                high if wanted.high is None else float(wanted.high),
            )
        scale, offset, step = 10.0 ** max(0, self.units.digits), self.units.offset, self.units.step
        if wanted.low is not None:
            low = _ceil_div(_scaled(wanted.low, scale, up=True) - offset, step)
        if wanted.high is not None:
            high = (_scaled(wanted.high, scale, up=False) - offset) // step
        return low, high

    def _shares(self, low: Any, high: Any) -> NDArray[np.float32]:
        """Of each cell `(bins, SUBBINS)` the share from low to high, both within."""
        bottom, top = self.edges[:, :-1], self.edges[:, 1:]
        if self.units.whole:
            inside = np.minimum(top, high + 1) - np.maximum(bottom, low)
            return np.where(top > bottom, np.maximum(inside, 0) / np.maximum(top - bottom, 1), 0).astype(np.float32)
        wide = top > bottom
        share = np.clip(np.minimum(top, high) - np.maximum(bottom, low), 0, None) / np.where(wide, top - bottom, 1)
        return np.where(wide, share, (bottom >= low) & (bottom <= high)).astype(np.float32)

    def state(self) -> dict[str, Any]:
        return {"units": self.units.state(), "edges": self.edges.tolist(), "spikes": self.spikes.tolist()}


def _within(real: NDArray[Any], wanted: Wanted) -> NDArray[np.bool_]:
    """Which values are wanted."""
    found = np.zeros(len(real), dtype=np.bool_)
    if wanted.low is not None or wanted.high is not None:
        found |= (real >= (-np.inf if wanted.low is None else wanted.low)) & (
            real <= (np.inf if wanted.high is None else wanted.high)
        )
    for value in wanted.values or ():
        found |= real == value
    return found


def _nearest(ordered: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """The index of the nearest of rising values."""
    if len(ordered) < 2:
        return np.zeros(len(values), dtype=np.int64)
    above = np.clip(np.searchsorted(ordered, values), 1, len(ordered) - 1)
    with np.errstate(invalid="ignore"):
        lower = values - ordered[above - 1] <= ordered[above] - values
    return above - lower


def _scaled(value: float | int, scale: float, *, up: bool) -> int:
    if isinstance(value, int) and scale == 1:
        return value
    wide = value * scale
    near = round(wide)
    if abs(wide - near) < 1e-9 * max(1.0, abs(wide)):
        return near
    return int(np.ceil(wide) if up else np.floor(wide))


def _ceil_div(value: int, step: int) -> int:
    return -(-value // step)


def find_column(values: NDArray[Any], missing: Mask, units: Units, *, bins: int, rare: int) -> Values | Bins:
    """The column of these numbers: by value where few are found, else in bins."""
    counted = units.count(values[~missing])
    finite = counted[np.isfinite(counted)] if counted.dtype.kind == "f" else counted
    special = np.unique(counted[~np.isfinite(counted)]) if counted.dtype.kind == "f" else counted[:0]
    distinct, often = np.unique(finite, return_counts=True)
    kept = often >= rare
    if len(distinct) <= 2 * bins and often[kept].sum() >= 0.9 * len(finite):
        return Values(units, np.concatenate((distinct[kept], special)))
    spikes = distinct[often > max(0.01 * len(counted), rare)]
    rest = np.sort(finite[~np.isin(finite, spikes)])
    if not len(rest):
        return Values(units, np.concatenate((distinct, special)))
    # The few last ones at either end would tell of single rows.
    clip = min(rare - 1, max(0, (len(rest) - 1) // 2))
    rest = np.clip(rest, rest[clip], rest[len(rest) - 1 - clip])
    count = int(np.clip(len(rest) // 200, min(16, bins), bins))
    return Bins(units, _edges(rest, count, units.whole), np.concatenate((spikes, special)))


def _edges(ordered: NDArray[Any], bins: int, whole: bool) -> NDArray[Any]:
    """`(bins, SUBBINS + 1)`: cells of about equal mass; of whole units each begins at one of them."""
    top = ordered[-1] + 1 if whole else ordered[-1]
    at = (np.arange(1, bins) * len(ordered)) // bins
    cuts = np.unique(np.concatenate((ordered[:1], ordered[at], np.array([top], dtype=ordered.dtype))))
    if len(cuts) < 2:
        cuts = np.array([ordered[0], top], dtype=ordered.dtype)
    edges = np.empty((len(cuts) - 1, SUBBINS + 1), dtype=ordered.dtype)
    for number, (low, high) in enumerate(pairwise(cuts)):
        last = number == len(cuts) - 2
        begin, stop = np.searchsorted(ordered, low), np.searchsorted(ordered, high, side="right" if last else "left")
        inner = ordered[begin + (np.arange(1, SUBBINS) * max(1, stop - begin)) // SUBBINS] if stop > begin else low
        edges[number, 0], edges[number, -1], edges[number, 1:-1] = low, high, inner
    return edges


def restored(state: dict[str, Any], kind: str) -> Column:
    """The column that `state` described."""
    if kind == "categories":
        return Categories(state["values"], state["counts"])
    units = Units(**state["units"])
    dtype = np.int64 if units.whole else np.float64
    if kind == "values":
        return Values(units, np.array(state["values"], dtype=dtype))
    edges = np.array(state["edges"], dtype=dtype)
    return Bins(units, edges, np.array(state["spikes"], dtype=dtype))
