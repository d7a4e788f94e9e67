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
        table = np.empty(len(self.values) + 2, dtype=object)
        for number, value in enumerate(self.values):  # one by one, for it may be a tuple
            table[number] = value
        return table[np.where(missing, self.rare, drawn)], missing

    def chances(self, wanted: Wanted) -> list[NDArray[np.float32]]:
        found = np.zeros(self.alphabets[0], dtype=np.float32)
        for value in wanted.values or ():
            found[self._index[value]] = 1
        found[self.rare + 1] = wanted.missing
        return [found]

    def state(self) -> dict[str, Any]:
        return {"values": self.values, "counts": self.counts.tolist()}


class Numbers(Column):
    """A column whose values have an order."""

    @abstractmethod
    def bounds(self, symbols: Symbols) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The lowest and the highest value that symbols `(n, …)` may stand for; infinite for what has no order."""

    @abstractmethod
    def ranges(self) -> list[NDArray[np.float64]]:
        """The same of each first symbol, `(K, 2)`, and of each second one after it, `(K, K2, 2)`."""


class Values(Numbers):
    """Numbers of which there are few: each that is not rare has a symbol, in order; a rare one goes to the nearest."""

    kind = "values"

    def __init__(self, units: Units, values: NDArray[Any]) -> None:
        """`values` in units, rising; a NaN comes last."""
        self.units, self.values = units, values
        self.ordered = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        self.alphabets = (len(values) + 1,)

    def encode(self, values: Any, missing: Mask) -> Symbols:
        counted = self.units.count(values)
        found = _nearest(self.ordered, counted)
        if len(self.ordered) < len(self.values):
            found = np.where(np.isnan(counted), len(self.ordered), found)
        return np.where(missing, len(self.values), found)[:, None]

    def decode(self, symbols: Symbols, inside: NDArray[np.float64]) -> tuple[Any, Mask]:
        missing = symbols[:, 0] == len(self.values)
        if not len(self.values):
            return np.zeros(len(symbols)), missing
        return self.units.restore(self.values[np.where(missing, 0, symbols[:, 0])]), missing

    def chances(self, wanted: Wanted) -> list[NDArray[np.float32]]:
        real = self.units.restore(self.values)
        return [np.append(_within(real, wanted), wanted.missing).astype(np.float32)]

    def bounds(self, symbols: Symbols) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values, missing = self.decode(symbols, np.zeros(len(symbols)))
        return _open(values, values, missing)

    def ranges(self) -> list[NDArray[np.float64]]:
        return [np.stack(self.bounds(np.arange(self.alphabets[0])[:, None]), axis=1)]

    def state(self) -> dict[str, Any]:
        return {"units": self.units.state(), "values": self.values.tolist()}


class Bins(Numbers):
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
        shares = second[: len(self.edges), :SUBBINS]
        if wanted.low is not None or wanted.high is not None:
            shares[:] = self._shares(*self._counted(wanted.low, wanted.high))
        for value in wanted.values or ():
            counted = self.units.count(np.array([value]))[0]
            if not (self.spikes == counted).any():
                shares[:] = np.maximum(shares, self._shares(counted, counted))
        first[: len(self.edges)] = shares.max(axis=1) > 0
        first[len(self.edges) : -1] = _within(self.units.restore(self.spikes), wanted)
        first[-1] = wanted.missing
        second[len(self.edges) :, SUBBINS] = first[len(self.edges) :] > 0
        return [first, second]

    def bounds(self, symbols: Symbols) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        first, second = symbols[:, 0], np.minimum(symbols[:, 1], SUBBINS - 1)
        bins = np.minimum(first, len(self.edges) - 1)
        low, high = self.edges[bins, second], self.edges[bins, second + 1]
        if self.units.whole:
            high = np.maximum(low, high - 1)
        for number, spike in enumerate(self.spikes, len(self.edges)):
            low, high = (np.where(first == number, spike, ends) for ends in (low, high))
        return _open(self.units.restore(low), self.units.restore(high), first == self.alphabets[0] - 1)

    def ranges(self) -> list[NDArray[np.float64]]:
        bins, cells = len(self.edges), self.alphabets
        high = self.edges[:, -1] - 1 if self.units.whole else self.edges[:, -1]
        found = np.full((cells[0], 2), [-np.inf, np.inf])
        found[:bins] = np.stack((self.units.restore(self.edges[:, 0]), self.units.restore(high)), axis=1)
        spikes = self.units.restore(self.spikes).astype(np.float64)
        found[bins:-1] = np.where(np.isnan(spikes)[:, None], found[bins:-1], spikes[:, None])
        symbols = np.stack(np.meshgrid(*(np.arange(size) for size in cells), indexing="ij"), axis=-1).reshape(-1, 2)
        second = np.stack(self.bounds(symbols), axis=1).reshape(*cells, 2)
        return [found, second]

    def within(
        self,
        values: NDArray[Any],
        symbols: Symbols,
        inside: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> NDArray[Any]:
        """Decoded values, those in bins moved to the part of their cell from low to high, both within."""
        found = self.units.count(values)
        binned = symbols[:, 0] < len(self.edges)
        bins, cell = np.minimum(symbols[:, 0], len(self.edges) - 1), np.minimum(symbols[:, 1], SUBBINS - 1)
        least, most = self._counted(low, high)
        bottom, top = np.maximum(self.edges[bins, cell], least), self.edges[bins, cell + 1]
        if self.units.whole:
            width = np.maximum(np.minimum(top, most + 1) - bottom, 1)
            moved = bottom + np.minimum((inside * width).astype(np.int64), width - 1)
        else:
            moved = bottom + inside * np.maximum(np.minimum(top, most) - bottom, 0)
        return self.units.restore(np.where(binned, moved, found))

    def _counted(self, low: Any, high: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Both ends, or None, in units; of whole ones the first and the last within."""
        ends = [
            np.asarray(end if end is not None else default, dtype=np.float64 if self.units.whole is False else None)
            for end, default in ((low, -np.inf), (high, np.inf))
        ]
        if not self.units.whole:
            return ends[0], ends[1]
        first, last = int(self.edges[0, 0]), int(self.edges[-1, -1])
        return (
            self._whole(ends[0], first, last, up=True),
            self._whole(ends[1], first, last, up=False),
        )

    def _whole(self, end: NDArray[Any], first: int, last: int, *, up: bool) -> NDArray[np.int64]:
        """The next whole unit up or down, no farther out than just beyond the edges."""
        offset, step = self.units.offset, self.units.step
        if end.dtype.kind in "iu" and self.units.digits <= 0:
            shifted = end.astype(np.int64) - offset
            found = -(-shifted // step) if up else shifted // step
        else:
            end = np.clip(end.astype(np.float64), -1e300, 1e300)
            wide = (end * 10.0 ** max(0, self.units.digits) - offset) / step
            near = np.rint(wide)
            exact = np.abs(wide - near) < 1e-9 * np.maximum(1.0, np.abs(wide))
            rounded = np.where(exact, near, np.ceil(wide) if up else np.floor(wide))
            found = np.clip(rounded, first - 1, last + 1).astype(np.int64)
        return np.clip(found, first - 1, last + 1)

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


def _open(low: NDArray[Any], high: NDArray[Any], missing: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends, infinite where nothing is known of order."""
    low, high = low.astype(np.float64), high.astype(np.float64)
    nothing = missing | np.isnan(low)
    return np.where(nothing, -np.inf, low), np.where(nothing, np.inf, high)


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
        # Combinations of several columns come back from JSON as lists.
        values = [tuple(value) if isinstance(value, list) else value for value in state["values"]]
        return Categories(values, state["counts"])
    units = Units(**state["units"])
    dtype = np.int64 if units.whole else np.float64
    if kind == "values":
        return Values(units, np.array(state["values"], dtype=dtype))
    edges = np.array(state["edges"], dtype=dtype)
    return Bins(units, edges, np.array(state["spikes"], dtype=dtype))
