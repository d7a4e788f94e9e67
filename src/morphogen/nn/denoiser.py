"""The network of a denoiser: a backbone for the space, modulated by the noise level and the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..core.condition import Conditioner
from ..core.space import Grid, Space
from .embed import SinusoidalEmbedding
from .mlp import MLP
from .unet import UNet


class DenoiserNetwork(nn.Module):
    """Maps x `(B, *shape)`, noise levels `(B,)` and conditions to `(B, *shape)`: a U-Net, or an MLP for vectors.

    `extra` input channels follow those of x, such as which cells are known. `augmentation` numbers say how each item
    was changed in training; they are not dropped as conditions are, and not given means 0, unchanged.
    """

    def __init__(
        self,
        space: Grid,
        conditions: Mapping[str, Space],
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        patch: int,
        dropout: float,
        condition_dropout: float,
        extra: int = 0,
        augmentation: int = 0,
    ) -> None:
        super().__init__()
        embedding = max(64, widths[-1])
        self.level = SinusoidalEmbedding(embedding)
        self.embed = nn.Sequential(nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.conditioner = Conditioner(conditions, embedding, condition_dropout, grids=bool(space.size))
        self.augmentation = nn.Linear(augmentation, embedding, bias=False) if augmentation else None
        extra += self.conditioner.grid_channels
        self.backbone: nn.Module
        if space.size:
            self.backbone = UNet(
                axes=len(space.size),
                channels_in=space.channels + extra,
                channels_out=space.channels,
                widths=widths,
                blocks=blocks,
                patch=patch,
                embedding=embedding,
                dropout=dropout,
            )
        else:
            self.backbone = MLP(
                features_in=space.channels + extra,
                features_out=space.channels,
                width=widths[-1],
                layers=sum(blocks),
                embedding=embedding,
                dropout=dropout,
            )

    def forward(
        self, x: Tensor, noise_level: Tensor, condition: Mapping[str, Tensor], augmentation: Tensor | None = None
    ) -> Tensor:
        # ln σ / 4, the noise conditioning of arXiv 2206.00364, Table 1; clamped where σ/α is 0 or infinite.
        level = self.level(noise_level.clamp(1e-4, 1e4).log() / 4)
        context = self.conditioner(condition, x)
        if self.conditioner.grid_channels:
            x = torch.cat((x, context.grid.to(x.dtype)), dim=1)
        vector = self.embed(level) + context.vector
        if augmentation is not None and self.augmentation is not None:
            vector = vector + self.augmentation(augmentation)
        return self.backbone(x, vector).float()
