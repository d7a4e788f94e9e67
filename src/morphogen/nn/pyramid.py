"""Encoders to, and a decoder from, a coarse grid or a vector, for any number of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..core.space import Grid
from . import nd
from .mlp import MLP
from .unet import ResidualBlock


class Encoder(nn.Module):
    """Maps `(B, *space.shape)` to `(B, channels_out, *latent.size)`, for a space with axes.

    The size of the latent is that of the space, divided by `patch` and halved at each further level (rounded up), or
    `()`: a vector, a linear map of the whole coarsest grid.
    """

    def __init__(
        self,
        space: Grid,
        latent: Grid,
        *,
        channels_out: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        patch: int,
    ) -> None:
        super().__init__()
        axes = len(space.size)
        self.multiple, self.patch = patch * 2 ** (len(widths) - 1), patch
        self.stem = nd.convolution(axes, space.channels * patch**axes, widths[0])
        self.enter, self.levels = nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level:
                self.enter.append(nd.convolution(axes, widths[level - 1] * 2**axes, width, 1))
            self.levels.append(nn.ModuleList(ResidualBlock(axes, width, 0, 0.0) for _ in range(count)))
        self.norm = nd.group_norm(widths[-1])
        cells = math.prod(coarse_size(space.size, self.multiple))
        self.head: nn.Module = (
            nd.convolution(axes, widths[-1], channels_out, 1)
            if latent.size
            else nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * cells, channels_out))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = nd.pad_end(x, nd.padding_to(x.shape[2:], self.multiple))
        x = self.stem(nd.unshuffle(x, self.patch))
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.enter[level - 1](nd.unshuffle(x, 2))
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, None)
        return self.head(F.silu(self.norm(x))).float()


class Decoder(nn.Module):
    """Maps `(B, *latent.shape)` and an embedding `(B, E)` to `(B, *space.shape)`; it mirrors `Encoder`.

    `embedding` 0: it reads none.
    """

    def __init__(
        self,
        space: Grid,
        latent: Grid,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        patch: int,
        embedding: int,
    ) -> None:
        super().__init__()
        axes = len(space.size)
        self.patch, self.size = patch, space.size
        coarse = coarse_size(space.size, patch * 2 ** (len(widths) - 1))
        self.stem: nn.Module = (
            nd.convolution(axes, latent.channels, widths[-1])
            if latent.size
            else nn.Sequential(
                nn.Linear(latent.channels, widths[-1] * math.prod(coarse)), nn.Unflatten(1, (widths[-1], *coarse))
            )
        )
        self.leave, self.levels = nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level:
                self.leave.append(nd.convolution(axes, width, widths[level - 1] * 2**axes, 1))
            self.levels.append(nn.ModuleList(ResidualBlock(axes, width, embedding, 0.0) for _ in range(count)))
        self.norm = nd.group_norm(widths[0])
        self.head = nd.convolution(axes, widths[0], space.channels * patch**axes)

    def forward(self, z: Tensor, embedding: Tensor | None = None) -> Tensor:
        x = self.stem(z)
        if embedding is not None:
            embedding = F.silu(embedding)
        for level in reversed(range(len(self.levels))):
            for block in self.levels[level]:  # type: ignore[attr-defined]
                x = block(x, embedding)
            if level:
                x = nd.shuffle(self.leave[level - 1](x), 2)
        x = nd.shuffle(self.head(F.silu(self.norm(x))), self.patch)
        return nd.crop_end(x, self.size).float()


class VectorEncoder(nn.Module):
    """Maps vectors `(B, channels)` to `(B, channels_out)`."""

    def __init__(self, space: Grid, *, channels_out: int, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        self.network = MLP(
            features_in=space.channels,
            features_out=channels_out,
            width=width,
            layers=layers,
            embedding=width,
            dropout=0.0,
        )
        # The head of an MLP starts at zero, with which the latent would not depend on x.
        self.network.head = nn.Linear(width, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, x.new_zeros(len(x), self.width)).float()


def coarse_size(size: Sequence[int], multiple: int) -> tuple[int, ...]:
    """Return the size of the coarsest grid: each axis divided by `multiple`, rounded up."""
    return tuple(-(-length // multiple) for length in size)
