"""Constraints between columns as masks over the cells of a field while rows are sampled."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .columns import Numbers


class Order:
    """The cells of the lower and of the higher column leave room for the one value to be below the other."""

    def __init__(self, lower: tuple[int, Numbers], higher: tuple[int, Numbers], strict: bool) -> None:
        """Each column comes with the number of its field."""
        self.strict = strict
        self._lower, self._higher = lower[0], higher[0]
        self.fields = frozenset((self._lower, self._higher))
        self._ends = {
            self._lower: torch.from_numpy(np.ascontiguousarray(lower[1].ranges()[:, 0])),
            self._higher: torch.from_numpy(np.ascontiguousarray(higher[1].ranges()[:, 1])),
        }

    def allowed(self, field: int, x: Tensor, known: Tensor) -> Tensor | None:
        other = self._higher if field == self._lower else self._lower
        other_known = known[:, other].expand(len(x))
        if not bool(other_known.any()):
            return None
        own_ends = self._ends[field].to(x.device)[None]
        other_ends = self._ends[other].to(x.device)[x[:, other]][:, None]
        lower, higher = (own_ends, other_ends) if field == self._lower else (other_ends, own_ends)
        consistent = (lower < higher) if self.strict else (lower <= higher)
        # A missing value, or one without an order, may stand beside any other.
        return consistent | ~other_known[:, None] | own_ends.isinf() | other_ends.isinf()


class Without:
    """The value of a field is not in a certain cell."""

    def __init__(self, field: int, size: int, cell: int) -> None:
        """`size` is the number of cells."""
        self.fields = frozenset((field,))
        self._allowed = (torch.arange(size) != cell)[None]

    def allowed(self, field: int, x: Tensor, known: Tensor) -> Tensor:
        return self._allowed.to(x.device)


class DifferenceMissing:
    """The difference of two dates is missing exactly where either is; while one is unknown, it may be as well."""

    def __init__(self, difference: tuple[int, int], dates: tuple[int, int], missing: tuple[int, int], known: bool):
        """`difference` is a field and its number of cells; of both `dates` the field and the `missing` cell are given.

        `known`: whether unknown dates are known to be present.
        """
        self._field, size = difference
        self._dates, self._missing, self._known = dates, missing, known
        self._is_missing = (torch.arange(size) == size - 1)[None]
        self.fields = frozenset((self._field, *dates))

    def allowed(self, field: int, x: Tensor, known: Tensor) -> Tensor | None:
        if field != self._field:
            return None
        there = [known[:, date].expand(len(x))[:, None] for date in self._dates]
        gone = [(x[:, date] == cell)[:, None] for date, cell in zip(self._dates, self._missing, strict=True)]
        is_missing = self._is_missing.to(x.device)
        either_gone = (there[0] & gone[0]) | (there[1] & gone[1])
        open_ = ~(there[0] & there[1]) & (not self._known)
        return torch.where(either_gone, is_missing, ~is_missing | open_)


class Missing:
    """A column is missing exactly `unless` another one has a value, or wherever the other one has it."""

    def __init__(self, column: tuple[int, int], other: tuple[int, NDArray[np.bool_]], unless: bool) -> None:
        """`column` is a field and its number of cells; `other` a field and which of its cells are the value."""
        self._field, self._size = column
        self._other, matches = other
        self._matches, self._unless = torch.from_numpy(matches), unless
        self.fields = frozenset((self._field, self._other))

    def allowed(self, field: int, x: Tensor, known: Tensor) -> Tensor | None:
        decided, matches = self._field == field, self._matches.to(x.device)
        other = self._other if decided else self._field
        other_known = known[:, other].expand(len(x))
        if not bool(other_known.any()):
            return None
        if decided:
            is_missing = (torch.arange(self._size, device=x.device) == self._size - 1)[None]
            is_match = matches[x[:, self._other]][:, None]
        else:
            is_missing = (x[:, self._field] == self._size - 1)[:, None]
            is_match = matches[None]
        consistent = (is_missing != is_match) if self._unless else (is_missing | ~is_match)
        return consistent | ~other_known[:, None]
