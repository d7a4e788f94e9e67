"""The generator: a residual network, with or without normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.space import Grid, Space
from ...nn import nd
from ...nn.critic import LEAK, Block, local_map
from ...nn.pyramid import coarse_size

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Generator(nn.Module):
    """Maps noise `(B, latent)` and conditions to `(B, *space.shape)`, from the coarsest level to the finest.

    Each level is scaled by a linear map of the noise and the conditions.
    """

    def __init__(
        self,
        space: Grid,
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
            nn.Linear(2 * latent, widths[-1]), nn.LeakyReLU(LEAK), nn.Linear(widths[-1], widths[-1])
        )
        self.stem = nn.Linear(widths[-1], widths[-1] * math.prod(self.coarse))
        self.levels, self.leave, self.style = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            self.levels.append(nn.ModuleList(Block(axes, width, normalised) for _ in range(count)))
            self.style.append(nn.Linear(widths[-1], width))
            if level:
                self.leave.append(local_map(axes, width, widths[level - 1], 1))
        self.head = local_map(axes, widths[0], space.channels * patch**axes, 3)

        # Without normalisation the scale of the signal depends on the weights alone. With torch's initialisation, which
        # shrinks it, four minutes of Fashion-MNIST collapsed to some fifteen distinct samples.
        for name, module in self.named_modules():
            # The `leave` of a block is 0.
            excluded = name.startswith(("conditioner", "style", "head")) or name.endswith("leave")
            if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)) and not excluded:
                nn.init.kaiming_normal_(module.weight, LEAK)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        context = self.conditioner(condition, z).vector
        w = self.mapping(torch.cat((z, context), dim=1))
        x = self.stem(F.leaky_relu(w, LEAK)).reshape(len(z), -1, *self.coarse)
        for level in reversed(range(len(self.levels))):
            scale = 1 + self.style[level](w)
            x = x * scale.reshape(*scale.shape, *[1] * len(self.size))
            for block in self.levels[level]:  # type: ignore[attr-defined]
                x = block(x)
            if level:
                x = self.leave[level - 1](x)
                x = F.interpolate(x, scale_factor=2, mode=_LINEAR[len(self.size)], align_corners=False)
        x = self.head(F.leaky_relu(x, LEAK))
        return nd.crop_end(nd.shuffle(x, self.patch), self.size).float() if self.size else x.float()
