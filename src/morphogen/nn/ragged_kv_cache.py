"""The keys and values of a causal transformer, for sequences of different lengths that finish at different times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .rotary import Rotary, Rotation


class RaggedKVCache:
    """Keys and values of the positions that each sequence has read, for each layer; sequences `[0, active)` are in use.

    `begin` prefills sequences from their first position on; after that each call adds one position to every sequence.
    """

    def __init__(self, layers: int, batch: int, heads: int, length: int, head_width: int, like: Tensor) -> None:
        """`like` gives the type and the device."""
        self.memory = like.new_zeros(layers, 2, batch, heads, length, head_width)
        self.lengths = [0] * batch
        self._prefill: tuple[Tensor, Sequence[int]] | None = None  # sequences read from their first position on
        self._prepare()

    @property
    def active(self) -> int:
        return len(self.lengths)

    def begin(self, sequences: Sequence[int], counts: Sequence[int]) -> None:
        """Let the next call of the network prefill these sequences, `counts` positions each, padded on the right."""
        self._prefill = torch.tensor(sequences, device=self.memory.device), counts

    def rotation(self, rotary: Rotary, count: int) -> Rotation:
        """Return the rotation of the next positions of the sequences."""
        if self._prefill is not None:
            return rotary(0, count)
        return rotary(self._longest, 1) if self._positions is None else rotary.at(self._positions[:, None])

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store the keys and values `(B, heads, n, head_width)` of the next positions.

        Returns those of all positions of these sequences so far, and what to add to the attention scores: −∞ where a
        query does not see a key; None where it sees all.
        """
        if self._prefill is not None:
            sequences, _ = self._prefill
            self.memory[layer, 0, sequences, :, : k.shape[2]] = k
            self.memory[layer, 1, sequences, :, : k.shape[2]] = v
            return k, v, None
        keys, values = self.memory[layer, 0, : self.active], self.memory[layer, 1, : self.active]
        stop = self._longest + 1
        if self._positions is None:  # all sequences are as long
            keys[:, :, self._longest : stop], values[:, :, self._longest : stop] = k, v
        else:
            at = (self._sequences, slice(None), self._positions)
            keys[at], values[at] = k.squeeze(2), v.squeeze(2)
        return keys[:, :, :stop], values[:, :, :stop], self._mask

    def advance(self, count: int) -> None:
        """Count the positions that all layers have read."""
        if self._prefill is not None:
            sequences, counts = self._prefill
            for sequence, length in zip(sequences.tolist(), counts, strict=True):
                self.lengths[sequence] = length
            self._prefill = None
        else:
            self.lengths = [length + 1 for length in self.lengths]
        self._prepare()

    def remove(self, sequence: int) -> None:
        """Drop a finished sequence; the last one takes its place."""
        last = self.active - 1
        if sequence != last:
            length = self.lengths[last]
            self.memory[:, :, sequence, :, :length] = self.memory[:, :, last, :, :length]
            self.lengths[sequence] = length
        self.lengths.pop()
        self._prepare()

    def select(self, sequences: Sequence[int]) -> None:
        """Keep these sequences, in this order, one of them perhaps twice; at most as many as there were at first."""
        longest = max((self.lengths[sequence] for sequence in sequences), default=0)
        self.memory[:, :, : len(sequences), :, :longest] = self.memory[:, :, sequences, :, :longest]
        self.lengths = [self.lengths[sequence] for sequence in sequences]
        self._prepare()

    def _prepare(self) -> None:
        """Compute what all layers of the next step share."""
        self._longest = max(self.lengths, default=0)
        self._positions = self._mask = None
        if min(self.lengths, default=0) < self._longest:
            device = self.memory.device
            self._positions = torch.tensor(self.lengths, device=device)
            self._sequences = torch.arange(self.active, device=device)
            visible = torch.arange(self._longest + 1, device=device) <= self._positions[:, None]
            self._mask = self.memory.new_zeros(visible.shape).masked_fill_(~visible, -torch.inf)[:, None, None]
