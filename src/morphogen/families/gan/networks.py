"""Generator and critic: residual networks without normalisation, which the generator may have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.space import Continuous, Space
from ...nn import nd
from ...nn.pyramid import coarse_size

_LEAK = 0.2
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Block(nn.Module):
    """Two maps around a residual; without normalisation it starts as nothing (R3GAN, arXiv 2501.05441, section 3.2)."""

    def __init__(self, axes: int, width: int, normalised: bool) -> None:
        super().__init__()
        self.norm = nd.group_norm(width) if normalised else nn.Identity()
        self.enter = _map(axes, width, width, 3)
        self.leave = _map(axes, width, width, 3)
        if not normalised:
            nd.zero(self.leave)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.enter(F.leaky_relu(self.norm(x), _LEAK)), _LEAK)
        return x + self.leave(h)


class Generator(nn.Module):
    """Noise `(B, latent)` and conditions to `(B, *space.shape)`: a learned coarse grid, then finer and finer."""

    def __init__(
        self,
        space: Continuous,
        conditions: Mapping[str, Space],
        *,
        latent: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        patch: int,
        normalised: bool,
    ) -> None:
        super().__init__()
        axes = len(space.size)
        self.size, self.patch = space.size, patch
        self.coarse = coarse_size(space.size, patch * 2 ** (len(widths) - 1))
        self.conditioner = Conditioner(conditions, latent, 0.0)
        self.mapping = nn.Sequential(
            nn.Linear(2 * latent, widths[-1]), nn.LeakyReLU(_LEAK), nn.Linear(widths[-1], widths[-1])
        )
        self.stem = nn.Linear(widths[-1], widths[-1] * math.prod(self.coarse))
        self.levels, self.leave, self.style = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            self.levels.append(nn.ModuleList(Block(axes, width, normalised) for _ in range(count)))
            self.style.append(nn.Linear(widths[-1], width))
            if level:
                self.leave.append(_map(axes, width, widths[level - 1], 1))
        self.head = _map(axes, widths[0], space.channels * patch**axes, 3)

        # Without normalisation the noise must reach the picture by the weights alone. With torch's own, which shrink
        # it, four minutes of Fashion-MNIST collapsed to some fifteen pictures.
        for name, module in self.named_modules():
            kept = name.startswith(("conditioner", "style", "head")) or name.endswith("leave")  # a block's, which is 0
            if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)) and not kept:
                nn.init.kaiming_normal_(module.weight, _LEAK)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        context = self.conditioner(condition, z).vector
        w = self.mapping(torch.cat((z, context), dim=1))
        x = self.stem(F.leaky_relu(w, _LEAK)).reshape(len(z), -1, *self.coarse)
        for level in reversed(range(len(self.levels))):
            scale = 1 + self.style[level](w)
            x = x * scale.reshape(*scale.shape, *[1] * len(self.size))
            for block in self.levels[level]:  # type: ignore[attr-defined]
                x = block(x)
            if level:
                x = self.leave[level - 1](x)
                x = F.interpolate(x, scale_factor=2, mode=_LINEAR[len(self.size)], align_corners=False)
        x = self.head(F.leaky_relu(x, _LEAK))
        return nd.crop_end(nd.shuffle(x, self.patch), self.size).float() if self.size else x.float()


class Critic(nn.Module):
    """`(B, *space.shape)` and conditions to a verdict `(B,)`; conditions by projection (arXiv 1802.05637)."""

    def __init__(
        self,
        space: Continuous,
        conditions: Mapping[str, Space],
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        patch: int,
    ) -> None:
        super().__init__()
        axes = len(space.size)
        self.patch, self.multiple = patch, patch * 2 ** (len(widths) - 1)
        self.stem = _map(axes, space.channels * patch**axes, widths[0], 3)
        self.levels, self.enter = nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level:
                self.enter.append(_map(axes, widths[level - 1], width, 1))
            self.levels.append(nn.ModuleList(Block(axes, width, normalised=False) for _ in range(count)))
        self.flatten = nn.Linear(widths[-1] * math.prod(coarse_size(space.size, self.multiple)), widths[-1])
        self.conditioner = Conditioner(conditions, widths[-1], 0.0)
        self.head = nn.Linear(widths[-1], 1)
        self.axes, self.conditional = axes, bool(conditions)

    def forward(self, x: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        if self.axes:
            x = nd.unshuffle(nd.pad_end(x, nd.padding_to(x.shape[2:], self.multiple)), self.patch)
        x = self.stem(x)
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.enter[level - 1](_halved(x))
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)
        h = F.leaky_relu(self.flatten(F.leaky_relu(x, _LEAK).flatten(1)), _LEAK)
        verdict = self.head(h).squeeze(1).float()
        if self.conditional:
            context = self.conditioner(condition, x).vector
            verdict = verdict + (h.float() * context).sum(1) / math.sqrt(h.shape[1])
        return verdict


def _map(axes: int, features_in: int, features_out: int, kernel: int) -> nn.Module:
    """A convolution, or for rows a linear map."""
    return nd.convolution(axes, features_in, features_out, kernel) if axes else nn.Linear(features_in, features_out)


def _halved(x: Tensor) -> Tensor:
    return {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[x.dim()](x, 2)
