"""The critic of adversarial training: a residual network without normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..core.condition import Conditioner
from ..core.space import Grid, Space
from . import nd
from .pyramid import coarse_size

LEAK = 0.2


class Block(nn.Module):
    """A residual block; without normalisation it starts as the identity (R3GAN, arXiv 2501.05441, section 3.2)."""

    def __init__(self, axes: int, width: int, normalised: bool) -> None:
        super().__init__()
        self.norm = nd.group_norm(width) if normalised else nn.Identity()
        self.enter = local_map(axes, width, width, 3)
        self.leave = local_map(axes, width, width, 3)
        if not normalised:
            nd.zero(self.leave)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.enter(F.leaky_relu(self.norm(x), LEAK)), LEAK)
        return x + self.leave(h)


class Critic(nn.Module):
    """Maps `(B, *space.shape)` and conditions to a score `(B,)`, higher for real items.

    Conditions enter by projection (arXiv 1802.05637).
    """

    def __init__(
        self,
        space: Grid,
        conditions: Mapping[str, Space],
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        patch: int,
    ) -> None:
        super().__init__()
        axes = len(space.size)
        self.patch, self.multiple = patch, patch * 2 ** (len(widths) - 1)
        self.stem = local_map(axes, space.channels * patch**axes, widths[0], 3)
        self.levels, self.enter = nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level:
                self.enter.append(local_map(axes, widths[level - 1], width, 1))
            self.levels.append(nn.ModuleList(Block(axes, width, normalised=False) for _ in range(count)))
        self.flatten = nn.Linear(widths[-1] * math.prod(coarse_size(space.size, self.multiple)), widths[-1])
        self.conditioner = Conditioner(conditions, widths[-1], 0.0)
        self.head = nn.Linear(widths[-1], 1)
        self.axes, self.conditional = axes, bool(conditions)

    def forward(self, x: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return self.score_and_features(x, condition)[0]

    def score_and_features(self, x: Tensor, condition: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the score `(B,)` and the features of each level `(B, width, *size)`, finest first."""
        features = []
        if self.axes:
            x = nd.unshuffle(nd.pad_end(x, nd.padding_to(x.shape[2:], self.multiple)), self.patch)
        x = self.stem(x)
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.enter[level - 1](_halved(x))
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)
            features.append(x)
        h = F.leaky_relu(self.flatten(F.leaky_relu(x, LEAK).flatten(1)), LEAK)
        score = self.head(h).squeeze(1).float()
        if self.conditional:
            context = self.conditioner(condition, x).vector
            score = score + (h.float() * context).sum(1) / math.sqrt(h.shape[1])
        return score, features


def local_map(axes: int, features_in: int, features_out: int, kernel: int) -> nn.Module:
    """Return a convolution, or a linear map of vectors where there are no axes."""
    return nd.convolution(axes, features_in, features_out, kernel) if axes else nn.Linear(features_in, features_out)


def _halved(x: Tensor) -> Tensor:
    return {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[x.dim()](x, 2)
