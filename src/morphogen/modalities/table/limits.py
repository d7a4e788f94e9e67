"""Constraints between columns as limits on symbols while rows are drawn, and what numbers in cells are moved to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .columns import Numbers


class Order:
    """The lower column's symbols and the higher one's leave room for the one value to be below the other."""

    def __init__(self, lower: tuple[int, Numbers], higher: tuple[int, Numbers], strict: bool) -> None:
        """Each with the number of its first position."""
        self.strict = strict
        self._sides = [_Side(*lower, end=0), _Side(*higher, end=1)]
        self.positions = frozenset(position for side in self._sides for position in side.positions)

    def allowed(self, position: int, x: Tensor, known: Tensor) -> Tensor | None:
        is_lower = position in self._sides[0].positions
        mine, other = self._sides if is_lower else reversed(self._sides)
        end, there = other.reach(x, known)
        if not bool(there.any()):
            return None
        mine_at = mine.reaches(position, x)
        below = mine_at, end[:, None]
        lower, higher = below if is_lower else reversed(below)
        fits = (lower < higher) if self.strict else (lower <= higher)
        # What is missing, or has no order, may stand beside anything.
        return fits | ~there[:, None] | mine_at.isinf() | end[:, None].isinf()


class _Side:
    """How far the cells of one column reach to the other: the lowest value of the lower, the highest of the higher."""

    def __init__(self, first: int, column: Numbers, end: int) -> None:
        self.positions = tuple(range(first, first + len(column.alphabets)))
        self._ranges = [torch.from_numpy(np.ascontiguousarray(one[..., end])) for one in column.ranges()]

    def reach(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Of each row, `(B,)`: by all symbols of the column that are known; and whether the first of them is."""
        first = self.positions[0]
        seen = known[:, first].expand(len(x))
        found = self._ranges[0][x[:, first]]
        if len(self.positions) > 1:
            whole = seen & known[:, self.positions[1]].expand(len(x))
            found = torch.where(whole, self._ranges[1][x[:, first], x[:, self.positions[1]]], found)
        return found, seen

    def reaches(self, position: int, x: Tensor) -> Tensor:
        """Of each symbol at a position of it, `(1, K)` or `(B, K)`."""
        if position == self.positions[0]:
            return self._ranges[0][None]
        return self._ranges[1][x[:, self.positions[0]]]


class Present:
    """A cell is filled in with a value: `missing` is none."""

    def __init__(self, first: int, missing: int) -> None:
        """The first position of a column, and its symbol `missing`, the last."""
        self.positions = frozenset((first,))
        self._allowed = (torch.arange(missing + 1) < missing)[None]

    def allowed(self, position: int, x: Tensor, known: Tensor) -> Tensor:
        return self._allowed


class Missing:
    """A column is missing where another one has a value, or `unless` it has, and there alone."""

    def __init__(self, column: tuple[int, int], decides: tuple[int, NDArray[np.bool_]], unless: bool) -> None:
        """The first position of the column and its symbol `missing`; of the other, which symbols are the value."""
        self._first, self._missing = column
        self._other, meets = decides
        self._meets, self._unless = torch.from_numpy(meets), unless
        self.positions = frozenset((self._first, self._other))

    def allowed(self, position: int, x: Tensor, known: Tensor) -> Tensor | None:
        if position == self._first:
            there, alphabet = known[:, self._other].expand(len(x)), self._missing + 1
            meets = self._meets[x[:, self._other]]
            gone = torch.arange(alphabet) == self._missing
            must, may_not = (~meets, meets) if self._unless else (meets, torch.zeros_like(meets))
            found = (gone[None] | ~must[:, None]) & (~gone[None] | ~may_not[:, None])
            return found | ~there[:, None]
        there = known[:, self._first].expand(len(x))
        is_gone = x[:, self._first] == self._missing
        if self._unless:
            found = self._meets[None] != is_gone[:, None]
        else:
            found = ~self._meets[None] | is_gone[:, None]
        return found | ~there[:, None]


def ordered(
    ends: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], pairs: Mapping[tuple[str, str], bool]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The ends of cells, drawn in so that a lower one's highest value still leaves room for a higher one's.

    `pairs` (lower, higher) → strict, with all that follow from others.
    """
    found = {name: (low.copy(), high.copy()) for name, (low, high) in ends.items()}
    for _ in range(len(found)):
        for (lower, higher), strict in pairs.items():
            top = np.nextafter(found[higher][1], -np.inf) if strict else found[higher][1]
            both = np.isfinite(found[lower][1]) & np.isfinite(found[higher][1])
            found[lower] = found[lower][0], np.where(both, np.minimum(found[lower][1], top), found[lower][1])
    return found
