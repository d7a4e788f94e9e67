"""The keys and values of a causal transformer, for sequences that are all of one length."""

from __future__ import annotations

from torch import Tensor

from .rotary import Rotary, Rotation


class KVCache:
    """Keys and values of the positions read so far, for each layer."""

    def __init__(self, layers: int, batch: int, heads: int, length: int, head_width: int, like: Tensor) -> None:
        """`like` gives the type and the device."""
        self.memory = like.new_empty(layers, 2, batch, heads, length, head_width)
        self.length = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store the keys and values `(B, heads, n, head_width)` of the next positions.

        Returns those of all positions so far, and the attention mask: None, a query sees all.
        """
        stop = self.length + k.shape[2]
        self.memory[layer, 0, :, :, self.length : stop] = k
        self.memory[layer, 1, :, :, self.length : stop] = v
        return self.memory[layer, 0, :, :, :stop], self.memory[layer, 1, :, :, :stop], None

    def rotation(self, rotary: Rotary, count: int) -> Rotation:
        """Return the rotation of the next `count` positions."""
        return rotary(self.length, count)

    def advance(self, count: int) -> None:
        """Count positions that all layers have read."""
        self.length += count
