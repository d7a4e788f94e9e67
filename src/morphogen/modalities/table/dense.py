"""Rows of symbols as numbers, for families that model those: quantiles on a normal scale, and choices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.space import Continuous

from .columns import Bins, Column, Values
from .salt import ALPHABET, COUNT, mixed

_FEW = 32  # numbers, up to which a column of them is a choice
_EDGE = 1e-6  # of the unit interval, beyond which no quantile is told

Symbols = NDArray[np.int64]


class Dense:
    """First a number for each column of many numbers, then the salt, then a choice for each that has one to make.

    A number is the quantile among the training rows, spread evenly within its cell, on a normal scale. Where a column
    has a value that is frequent, or none, that is one of its choices, and its number tells nothing.
    """

    def __init__(self, columns: Sequence[Column], counts: Sequence[NDArray[np.int64]]) -> None:
        """`counts` are how often each symbol of each column is found: `(K,)`, of Bins `(K, K2)`."""
        self.columns, self.counts = list(columns), list(counts)
        self._begins = [0, *accumulate(len(column.alphabets) for column in columns)]
        self._scales = [
            _Scale(column, often) if _regular(column) else None for column, often in zip(columns, counts, strict=True)
        ]
        self.numbers = [at for at, scale in enumerate(self._scales) if scale is not None]
        self._chosen = [_choices(column, often) for column, often in zip(columns, counts, strict=True)]
        choices = tuple(len(chosen) for chosen in self._chosen if len(chosen))
        self.space = Continuous(len(self.numbers) + COUNT + sum(choices), choices=choices)

    def encode(self, symbols: Symbols) -> Tensor:
        """Rows of symbols, `(B, positions)`, as `(B, channels)` float32."""
        salt = symbols[:, -2].astype(np.uint64) * np.uint64(ALPHABET) + symbols[:, -1].astype(np.uint64)
        inside = [(mixed(salt, at) >> np.uint64(11)).astype(np.float64) * 2.0**-53 for at in self.numbers]
        numbers = self._quantiles(symbols, inside)
        numbers += [(symbols[:, position] + 0.5) / ALPHABET for position in range(-COUNT, 0)]
        return torch.from_numpy(np.concatenate([_normal(numbers, len(symbols)), *self._ones(symbols)], axis=1))

    def told(self, symbols: Symbols) -> tuple[Tensor, list[Tensor]]:
        """Numbers `(B, d)`, each in the middle of its cell, and choices `(B, K)`, which the values alone settle.

        Where a number tells nothing, as its column has none or a frequent one, it is 0: the median.
        """
        half = np.full(len(symbols), 0.5)
        choices = self._ones(symbols)
        numbers = _normal(self._quantiles(symbols, [half for _ in self.numbers]), len(symbols))
        filled = [at for at, chosen in enumerate(self._chosen) if len(chosen)]
        for number, at in enumerate(self.numbers):
            if at in filled:
                numbers[:, number] *= choices[filled.index(at)][:, 0]  # the first choice: it is a number
        return torch.from_numpy(numbers), [torch.from_numpy(one) for one in choices]

    def _quantiles(self, symbols: Symbols, inside: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Of each column of many numbers, at that share of its cell."""
        found = []
        for at, where in zip(self.numbers, inside, strict=True):
            scale = self._scales[at]
            assert scale is not None
            found.append(scale.quantile(symbols[:, self._begins[at] : self._begins[at + 1]], where))
        return found

    def _ones(self, symbols: Symbols) -> list[NDArray[np.float32]]:
        """Of each column that has a choice, a one for it among zeros."""
        found = []
        for at, (scale, chosen) in enumerate(zip(self._scales, self._chosen, strict=True)):
            if len(chosen):
                # What is none of the other choices is the first one: a number.
                index = np.zeros(self.columns[at].alphabets[0], dtype=np.int64)
                index[chosen] = np.arange(len(chosen))
                if scale is not None:
                    index[: scale.regular] = 0
                found.append(np.eye(len(chosen), dtype=np.float32)[index[symbols[:, self._begins[at]]]])
        return found

    def decode(self, x: Tensor) -> Symbols:
        """The reverse: of each choice the largest."""
        from scipy.special import ndtr

        found = x.detach().cpu().double().numpy()
        uniform = ndtr(found[:, : len(self.numbers) + COUNT])
        symbols = np.zeros((len(found), self._begins[-1] + COUNT), dtype=np.int64)
        number, channel = 0, len(self.numbers) + COUNT
        for at, (scale, chosen) in enumerate(zip(self._scales, self._chosen, strict=True)):
            own = slice(self._begins[at], self._begins[at + 1])
            if scale is not None:
                symbols[:, own] = scale.symbols(uniform[:, number])
                number += 1
            if len(chosen):
                picked = chosen[found[:, channel : channel + len(chosen)].argmax(1)]
                channel += len(chosen)
                if scale is None:
                    symbols[:, own.start] = picked
                else:
                    special = picked >= scale.regular
                    symbols[special, own.start] = picked[special]
                    if own.stop - own.start > 1:
                        symbols[special, own.start + 1] = scale.nothing
        for position, words in zip(range(-COUNT, 0), uniform[:, number : number + COUNT].T, strict=True):
            symbols[:, position] = np.clip((words * ALPHABET).astype(np.int64), 0, ALPHABET - 1)
        return symbols

    def state(self) -> dict[str, Tensor]:
        return {"counts": torch.from_numpy(np.concatenate([often.ravel() for often in self.counts]))}

    @classmethod
    def restored(cls, columns: Sequence[Column], tensors: dict[str, Tensor]) -> Dense:
        shapes = [column.alphabets for column in columns]
        parts = tensors["counts"].split([int(np.prod(shape)) for shape in shapes])
        return cls(columns, [part.reshape(shape).numpy() for part, shape in zip(parts, shapes, strict=True)])


def count_symbols(columns: Sequence[Column], symbols: Symbols) -> list[NDArray[np.int64]]:
    """How often each symbol of each column is found, of the second symbol of a part with the first."""
    found, begin = [], 0
    for column in columns:
        own = symbols[:, begin : begin + len(column.alphabets)]
        often = np.zeros(column.alphabets, dtype=np.int64)
        np.add.at(often, tuple(own.T), 1)
        found.append(often)
        begin += len(column.alphabets)
    return found


def _normal(quantiles: Sequence[NDArray[np.float64]], count: int) -> NDArray[np.float32]:
    """Columns of quantiles as `(count, columns)` on a normal scale."""
    from scipy.special import ndtri

    if not quantiles:
        return np.empty((count, 0), dtype=np.float32)
    return ndtri(np.clip(np.stack(quantiles, axis=1), _EDGE, 1 - _EDGE)).astype(np.float32)


class _Scale:
    """Where the cells of a column of numbers lie between 0 and 1, in the order of their values."""

    def __init__(self, column: Column, counts: NDArray[np.int64]) -> None:
        self.regular = _regular(column)
        often = counts[: self.regular, :-1] if counts.ndim == 2 else counts[: self.regular]
        self.cells = often.shape[1] if often.ndim == 2 else 1
        self.nothing = self.cells  # the second symbol, where the first is no bin
        # Cells that no row is in take a little: what is never found has to lie somewhere.
        mass = often.ravel() + 0.01
        self.cumulative = np.concatenate([[0.0], np.cumsum(mass / mass.sum())])

    def quantile(self, own: Symbols, inside: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where symbols lie, in (0, 1); of those that are no number, anywhere."""
        cell = own[:, 0] * self.cells + (np.minimum(own[:, 1], self.cells - 1) if self.cells > 1 else 0)
        regular = own[:, 0] < self.regular
        cell = np.where(regular, cell, 0)
        low, high = self.cumulative[cell], self.cumulative[cell + 1]
        return np.where(regular, low + inside * (high - low), inside)

    def symbols(self, quantile: NDArray[np.float64]) -> Symbols:
        """`(B, 1)`, of Bins `(B, 2)`."""
        last = len(self.cumulative) - 2
        cell = np.clip(np.searchsorted(self.cumulative, quantile, side="right") - 1, 0, last)
        return np.stack(divmod(cell, self.cells), axis=1) if self.cells > 1 else cell[:, None]


def _regular(column: Column) -> int:
    """How many first symbols of a column of many numbers stand for numbers that are in order; 0: it has no many."""
    if isinstance(column, Bins):
        return len(column.edges)
    return len(column.ordered) if isinstance(column, Values) and len(column.ordered) > _FEW else 0


def _choices(column: Column, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first symbols to choose among, of those that are found; of a column of many numbers 0 stands for all."""
    often, regular = counts.sum(1) if counts.ndim == 2 else counts, _regular(column)
    found = np.flatnonzero(often[regular:]) + regular
    return np.concatenate([[0], found]) if regular and len(found) else found
