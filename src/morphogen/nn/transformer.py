"""A transformer over a grid with 1 to 3 axes: causal in raster order with a key-value cache, or bidirectional."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from . import nd
from .attention import attend
from .fused_ops import normalised, squared_relu
from .kv_cache import KVCache
from .ragged_kv_cache import RaggedKVCache
from .rotary import GRID_BASE, Rotary, Rotation, rotate

Cache = KVCache | RaggedKVCache


class Layer(nn.Module):
    """Attention and a squared-ReLU MLP (arXiv 2109.08668), each after RMS normalisation without parameters.

    Queries and keys are normalised (arXiv 2010.04245). Output projections start at zero.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nd.zero(nn.Linear(width, width, bias=False))
        self.expand = nn.Linear(width, 4 * width, bias=False)
        self.contract = nd.zero(nn.Linear(4 * width, width, bias=False))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, rotation: Rotation, causal: bool, cache: Cache | None, layer: int, mask: Tensor | None = None
    ) -> Tensor:
        """Return `(B, n, width)`; `layer` is this layer's number in the cache."""
        batch, count, width = x.shape
        qkv = self.qkv(normalised(x)).reshape(batch, count, 3, self.heads, width // self.heads)
        q, k = rotate(normalised(qkv[:, :, :2]), *rotation).permute(2, 0, 3, 1, 4)
        v = qkv[:, :, 2].transpose(1, 2)
        if cache is not None:
            k, v, mask = cache.extend(layer, k, v)
        # A single new position sees all that is cached; several at once begin at the first position.
        h = attend(q, k, v.to(q.dtype), causal=causal and count > 1, mask=mask)
        x = x + self.dropout(self.mix(h.transpose(1, 2).reshape(batch, count, width)))
        return x + self.dropout(self.contract(squared_relu(self.expand(normalised(x)))))


class Transformer(nn.Module):
    """Maps `(B, n, width)` to the same shape: the cells of a grid in raster order, or the next n after a cache's.

    `width` is a multiple of 16. Causal: a position sees itself and those before it. `base` is that of the rotary
    frequencies.
    """

    def __init__(
        self,
        *,
        size: Sequence[int],
        width: int,
        layers: int,
        dropout: float,
        causal: bool,
        base: float = GRID_BASE,
    ) -> None:
        super().__init__()
        self.causal, self.length = causal, math.prod(size)
        self.heads = max(1, width // 32)
        while width % (2 * self.heads):
            self.heads -= 1
        self.width = width
        self.rotary = Rotary(size, width // self.heads, base)
        self.layers = nn.ModuleList(Layer(width, self.heads, dropout) for _ in range(layers))

    def cache(self, batch: int, like: Tensor) -> KVCache:
        """Return an empty cache for `batch` sequences, of the type and on the device of `like`."""
        return KVCache(len(self.layers), batch, self.heads, self.length, self.width // self.heads, like)

    def ragged_cache(self, batch: int, like: Tensor) -> RaggedKVCache:
        """Return an empty cache for `batch` sequences of different lengths."""
        return RaggedKVCache(len(self.layers), batch, self.heads, self.length, self.width // self.heads, like)

    def forward(
        self,
        x: Tensor,
        cache: Cache | None = None,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden vectors `(B, n, width)`.

        `rotation`: that of these positions, where they are not the next ones in raster order. `mask` bool
        `(B, 1, n, n)`: what a query may see besides causality; without a cache only. Raises ValueError on several
        positions after a cached one.
        """
        if isinstance(cache, KVCache) and cache.length and x.shape[1] > 1:
            raise ValueError(f"{x.shape[1]} positions after {cache.length} cached ones; give one at a time")
        if rotation is None:
            rotation = cache.rotation(self.rotary, x.shape[1]) if cache is not None else self.rotary(0, x.shape[1])
        for number, layer in enumerate(self.layers):
            x = layer(x, rotation, self.causal, cache, number, mask)
        if cache is not None:
            cache.advance(x.shape[1])
        return normalised(x)
