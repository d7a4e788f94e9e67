"""A U-Net over 1 to 3 axes, modulated by a vector: residual blocks, skip connections, attention at the lowest level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import nd
from .attention import attend


class ResidualBlock(nn.Module):
    """Two normalised convolutions, the second scaled and shifted by the embedding (arXiv 2105.05233).

    It starts as the identity. `embedding` 0: it reads none.
    """

    def __init__(self, axes: int, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = nd.group_norm(width)
        self.conv_in = nd.convolution(axes, width, width)
        self.modulation = nn.Linear(embedding, 2 * width) if embedding else None
        self.norm_out = nd.group_norm(width, affine=not embedding)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = nd.zero(nd.convolution(axes, width, width))
        self.axes = axes

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.conv_in(F.silu(self.norm_in(x)))
        h = self.norm_out(h)
        if self.modulation is not None:
            scale, shift = self.modulation(embedding)[(...,) + (None,) * self.axes].chunk(2, dim=1)
            h = torch.addcmul(shift, h, 1 + scale)
        return x + self.conv_out(self.dropout(F.silu(h)))


class Attention(nn.Module):
    """Self-attention over all cells; it starts as the identity."""

    def __init__(self, channels: int, head_width: int = 32) -> None:
        super().__init__()
        self.norm = nd.group_norm(channels)
        self.heads = next(heads for heads in range(max(1, channels // head_width), 0, -1) if channels % heads == 0)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nd.zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        h = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(h).reshape(batch, -1, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        h = attend(q, k, v).transpose(1, 2).reshape(batch, -1, channels)
        return x + self.out(h).transpose(1, 2).reshape(x.shape)


class SkipBlock(nn.Module):
    """A block of the decoder: a 1x1 convolution merges the skip, at a ninth of the cost of a block twice as wide."""

    def __init__(self, axes: int, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.merge = nd.convolution(axes, 2 * width, width, 1)
        self.block = ResidualBlock(axes, width, embedding, dropout)

    def forward(self, x: Tensor, skip: Tensor, embedding: Tensor | None) -> Tensor:
        return self.block(self.merge(torch.cat((x, skip), dim=1)), embedding)


class UNet(nn.Module):
    """Maps `(B, channels_in, *size)` and an embedding `(B, E)` to `(B, channels_out, *size)`, for any size.

    `widths` and `blocks` have one entry for each level, finest first; each level halves the size. First `patch` cells a
    side become channels (space to depth): most of the speed on small machines comes from that.
    """

    def __init__(
        self,
        *,
        axes: int,
        channels_in: int,
        channels_out: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        patch: int,
        embedding: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.multiple = patch * 2 ** (len(widths) - 1)
        cells, halving = patch**axes, 2**axes
        self.stem = nd.convolution(axes, channels_in * cells, widths[0])
        self.down, self.enter = nn.ModuleList(), nn.ModuleList()
        self.up, self.leave = nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level:
                self.enter.append(nd.convolution(axes, widths[level - 1] * halving, width, 1))
                self.leave.append(nd.convolution(axes, width, widths[level - 1] * halving, 1))
            self.down.append(nn.ModuleList(ResidualBlock(axes, width, embedding, dropout) for _ in range(count)))
            self.up.append(nn.ModuleList(SkipBlock(axes, width, embedding, dropout) for _ in range(count)))
        self.attention = Attention(widths[-1])
        self.middle = ResidualBlock(axes, widths[-1], embedding, dropout)
        self.norm = nd.group_norm(widths[0])
        self.head = nd.zero(nd.convolution(axes, widths[0], channels_out * cells))

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        size = x.shape[2:]
        x = nd.pad_end(x, nd.padding_to(size, self.multiple))
        x = self.stem(nd.unshuffle(x, self.patch))
        if embedding is not None:
            embedding = F.silu(embedding)
        skips = []
        for level, blocks in enumerate(self.down):
            if level:
                x = self.enter[level - 1](nd.unshuffle(x, 2))
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
                skips.append(x)
        x = self.middle(self.attention(x), embedding)
        for level in reversed(range(len(self.up))):
            for block in self.up[level]:  # type: ignore[attr-defined]
                x = block(x, skips.pop(), embedding)
            if level:
                x = nd.shuffle(self.leave[level - 1](x), 2)
        x = nd.shuffle(self.head(F.silu(self.norm(x))), self.patch)
        return nd.crop_end(x, size)
