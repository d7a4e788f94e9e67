"""A cache of keys and values whose rows have lengths of their own, and leave when they are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .transformer import Rotary, Turn


class Rows:
    """Keys and values of the cells that each row has read, for each layer; rows `[0, active)` are under way.

    A row is read from its first cell on with `begin`, and then takes one cell at a time.
    """

    def __init__(self, layers: int, batch: int, heads: int, length: int, head_width: int, like: Tensor) -> None:
        self.kept = like.new_zeros(layers, 2, batch, heads, length, head_width)
        self.lengths = [0] * batch
        self._reading: tuple[Tensor, Sequence[int]] | None = None  # rows that are read from their first cell on
        self._prepare()

    @property
    def active(self) -> int:
        return len(self.lengths)

    def begin(self, rows: Sequence[int], counts: Sequence[int]) -> None:
        """The next call of the network reads these rows anew, `counts` cells each, filled up at their right."""
        self._reading = torch.tensor(rows, device=self.kept.device), counts

    def turn(self, rotary: Rotary, count: int) -> Turn:
        """What `rotary` has for the next cells."""
        if self._reading is not None:
            return rotary(0, count)
        return rotary(self._longest, 1) if self._places is None else rotary.at(self._places[:, None])

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keep the keys and values `(B, heads, n, head_width)` of the next cells.

        Returns those of all cells of the rows so far, and what is added to the scores, −∞ for what a query may not see;
        None where it sees all.
        """
        if self._reading is not None:
            rows, _ = self._reading
            self.kept[layer, 0, rows, :, : k.shape[2]] = k
            self.kept[layer, 1, rows, :, : k.shape[2]] = v
            return k, v, None
        keys, values = self.kept[layer, 0, : self.active], self.kept[layer, 1, : self.active]
        stop = self._longest + 1
        if self._places is None:  # all rows are as long
            keys[:, :, self._longest : stop], values[:, :, self._longest : stop] = k, v
        else:
            keys[self._numbers, :, self._places], values[self._numbers, :, self._places] = k.squeeze(2), v.squeeze(2)
        return keys[:, :, :stop], values[:, :, :stop], self._mask

    def advance(self, count: int) -> None:
        """The cells of one call were read by all layers."""
        if self._reading is not None:
            rows, counts = self._reading
            for row, length in zip(rows.tolist(), counts, strict=True):
                self.lengths[row] = length
            self._reading = None
        else:
            self.lengths = [length + 1 for length in self.lengths]
        self._prepare()

    def leave(self, row: int) -> None:
        """That row is done; the last one takes its place."""
        last = self.active - 1
        if row != last:
            length = self.lengths[last]
            self.kept[:, :, row, :, :length] = self.kept[:, :, last, :, :length]
            self.lengths[row] = length
        self.lengths.pop()
        self._prepare()

    def select(self, rows: Sequence[int]) -> None:
        """Rows become those, one of them perhaps twice; there are no more of them than at first."""
        longest = max((self.lengths[row] for row in rows), default=0)
        self.kept[:, :, : len(rows), :, :longest] = self.kept[:, :, rows, :, :longest]
        self.lengths = [self.lengths[row] for row in rows]
        self._prepare()

    def _prepare(self) -> None:
        """What all layers of the next step share."""
        self._longest = max(self.lengths, default=0)
        self._places = self._mask = None
        if min(self.lengths, default=0) < self._longest:
            device = self.kept.device
            self._places = torch.tensor(self.lengths, device=device)
            self._numbers = torch.arange(self.active, device=device)
            seen = torch.arange(self._longest + 1, device=device) <= self._places[:, None]
            self._mask = self.kept.new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None, None]
