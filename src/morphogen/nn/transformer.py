"""A transformer over the cells of a grid with 1 to 3 axes; causal with a cache of keys and values, or all-to-all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from . import nd
from .attention import attend
from .pointwise import normalised, squared_relu
from .rows import Rows

_BASE = 100.0  # of the rotary frequencies, where nothing else is said: grids have sides of tens, not of thousands


class Rotary(nn.Module):
    """Rotary position embedding of grid cells: each axis turns its own share of the pairs (arXiv 2104.09864).

    The cells are in raster order.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, size: Sequence[int], head_width: int, base: float = _BASE) -> None:
        super().__init__()
        pairs = head_width // 2
        shares = [pairs // len(size) + (axis < pairs % len(size)) for axis in range(len(size))]
        cells = torch.tensor(list(itertools.product(*map(range, size))), dtype=torch.float32)  # (L, axes)
        angles = [
            cells[:, axis : axis + 1] * base ** -(torch.arange(share) / max(1, share))
            for axis, share in enumerate(shares)
        ]
        angle = torch.cat(angles, dim=1)  # (L, pairs)
        # Each pair twice, as `rotate` needs them.
        cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
        self.register_buffer("cosine", torch.cat((cosine, cosine), dim=-1), persistent=False)
        self.register_buffer("sine", torch.cat((-sine, sine), dim=-1), persistent=False)

    def forward(self, start: int, count: int) -> Turn:
        """For queries and keys alike, of the cells from `start` on: cosine and sine `(count, 1, 1, head_width)`."""
        return self.cosine[start : start + count], self.sine[start : start + count]

    def between(self, query: Tensor, key: Tensor) -> Turn:
        """For queries and keys of their own cells, int64 `(B, n)`: cosine and sine `(B, n, 2, 1, head_width)`."""
        cells = torch.stack((query, key), dim=2)
        return self.cosine[cells].squeeze(3), self.sine[cells].squeeze(3)

    def at(self, cells: Tensor) -> Turn:
        """For queries and keys alike, of cells `(B, n)`: cosine and sine `(B, n, 1, 1, head_width)`."""
        return self.cosine[cells], self.sine[cells]


Turn = tuple[Tensor, Tensor]


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn the pairs (i, i + head_width / 2) of `(B, n, 2, heads, head_width)` by what `Rotary` has for the n cells."""
    cosine, sine = cosine.to(x.dtype), sine.to(x.dtype)
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, dims=-1), sine)


class Cache:
    """Keys and values of the cells that a causal transformer has read, for each layer."""

    def __init__(self, layers: int, batch: int, heads: int, length: int, head_width: int, like: Tensor) -> None:
        self.kept = like.new_empty(layers, 2, batch, heads, length, head_width)
        self.filled = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keep the keys and values `(B, heads, n, head_width)` of the next cells.

        Returns those of all cells so far, and what of them a query may see: None, all.
        """
        stop = self.filled + k.shape[2]
        self.kept[layer, 0, :, :, self.filled : stop] = k
        self.kept[layer, 1, :, :, self.filled : stop] = v
        return self.kept[layer, 0, :, :, :stop], self.kept[layer, 1, :, :, :stop], None

    def turn(self, rotary: Rotary, count: int) -> Turn:
        """What `rotary` has for the next cells."""
        return rotary(self.filled, count)

    def advance(self, count: int) -> None:
        """So many cells were read by all layers."""
        self.filled += count


class Layer(nn.Module):
    """Attention and a squared-ReLU perceptron, each after a norm without parameters; both start as nothing.

    Queries and keys are normalised (arXiv 2010.04245); the activation is that of arXiv 2109.08668.
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
        self, x: Tensor, turn: Turn, causal: bool, cache: Cache | Rows | None, number: int, mask: Tensor | None = None
    ) -> Tensor:
        batch, count, width = x.shape
        qkv = self.qkv(normalised(x)).reshape(batch, count, 3, self.heads, width // self.heads)
        q, k = rotate(normalised(qkv[:, :, :2]), *turn).permute(2, 0, 3, 1, 4)
        v = qkv[:, :, 2].transpose(1, 2)
        if cache is not None:
            k, v, mask = cache.extend(number, k, v)
        # A single new cell sees all that was read; several at once follow each other, from the first cell on.
        h = attend(q, k, v.to(q.dtype), causal=causal and count > 1, mask=mask)
        x = x + self.dropout(self.mix(h.transpose(1, 2).reshape(batch, count, width)))
        return x + self.dropout(self.contract(squared_relu(self.expand(normalised(x)))))


class Transformer(nn.Module):
    """`(B, n, width)` to the same: the cells of a grid of that `size` in raster order, or the next n after a cache's.

    `width` is a multiple of 16. Causal: a cell sees itself and those before it.
    """

    def __init__(
        self,
        *,
        size: Sequence[int],
        width: int,
        layers: int,
        dropout: float,
        causal: bool,
        base: float = _BASE,
    ) -> None:
        super().__init__()
        self.causal, self.length = causal, math.prod(size)
        self.heads = max(1, width // 32)
        while width % (2 * self.heads):
            self.heads -= 1
        self.width = width
        self.rotary = Rotary(size, width // self.heads, base)
        self.layers = nn.ModuleList(Layer(width, self.heads, dropout) for _ in range(layers))

    def cache(self, batch: int, like: Tensor) -> Cache:
        """An empty cache for `batch` sequences, of the type and on the device of `like`."""
        return Cache(len(self.layers), batch, self.heads, self.length, self.width // self.heads, like)

    def rows(self, batch: int, like: Tensor) -> Rows:
        """An empty cache for `batch` sequences, each of a length of its own."""
        return Rows(len(self.layers), batch, self.heads, self.length, self.width // self.heads, like)

    def forward(
        self,
        x: Tensor,
        cache: Cache | Rows | None = None,
        turn: Turn | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """`turn` is what `rotary` has for these cells, where they are not the next ones in raster order.

        `mask`, bool `(B, 1, n, n)`: besides the causal one, what a cell may see; without a cache.
        Raises ValueError on several cells after the first with a cache, which it does not need to serve.
        """
        if isinstance(cache, Cache) and cache.filled and x.shape[1] > 1:
            raise ValueError(f"{x.shape[1]} cells after {cache.filled} cached ones; give one at a time")
        if turn is None:
            turn = cache.turn(self.rotary, x.shape[1]) if cache is not None else self.rotary(0, x.shape[1])
        for number, layer in enumerate(self.layers):
            x = layer(x, turn, self.causal, cache, number, mask)
        if cache is not None:
            cache.advance(x.shape[1])
        return normalised(x)
