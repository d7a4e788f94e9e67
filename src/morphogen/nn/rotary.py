"""Rotary position embedding on grids with 1 to 3 axes (Su et al., arXiv 2104.09864)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

GRID_BASE, SEQUENCE_BASE = 100.0, 10_000.0  # of the frequencies: grids have sides of tens, sequences of thousands

Rotation = tuple[Tensor, Tensor]  # cosine and sine, as `rotate` takes them


class Rotary(nn.Module):
    """Angles of the cells of a grid, in raster order: each axis rotates its own share of the pairs of channels."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, size: Sequence[int], head_width: int, base: float = GRID_BASE) -> None:
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

    def forward(self, start: int, count: int) -> Rotation:
        """Return the rotation of `count` cells from `start` on, of queries and keys: `(count, 1, 1, head_width)`."""
        return self.cosine[start : start + count], self.sine[start : start + count]

    def at(self, cells: Tensor) -> Rotation:
        """Return the rotation of the cells int64 `(B, n)`, of queries and keys: `(B, n, 1, 1, head_width)`."""
        return self.cosine[cells], self.sine[cells]

    def between(self, query: Tensor, key: Tensor) -> Rotation:
        """Return the rotation where queries and keys stand at different cells `(B, n)`: `(B, n, 2, 1, head_width)`."""
        cells = torch.stack((query, key), dim=2)
        return self.cosine[cells].squeeze(3), self.sine[cells].squeeze(3)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return queries and keys `(B, n, 2, heads, head_width)` with the pairs (i, i + head_width / 2) rotated."""
    cosine, sine = cosine.to(x.dtype), sine.to(x.dtype)
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, dims=-1), sine)
