"""The generator: a residual network without normalisation, which it may have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.space import Continuous, Space
from ...nn import nd
from ...nn.critic import LEAK, Block, local_map
from ...nn.pyramid import coarse_size

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


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

        # Without normalisation the noise must reach the picture by the weights alone. With torch's own, which shrink
        # it, four minutes of Fashion-MNIST collapsed to some fifteen pictures.
        for name, module in self.named_modules():
            kept = name.startswith(("conditioner", "style", "head")) or name.endswith("leave")  # a block's, which is 0
            if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)) and not kept:
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
