"""A residual multilayer perceptron for vectors, modulated by a vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import nd


class ResidualLayer(nn.Module):
    """Normalise, modulate, expand, contract; it starts as the identity."""

    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.expand = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.contract = nd.zero(nn.Linear(2 * width, width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding).chunk(2, dim=-1)
        h = torch.addcmul(shift, self.norm(x), 1 + scale)
        return x + self.contract(self.dropout(F.silu(self.expand(h))))


class MLP(nn.Module):
    """Maps `(B, features_in)` and an embedding `(B, E)` to `(B, features_out)`; the output starts at zero."""

    def __init__(
        self, *, features_in: int, features_out: int, width: int, layers: int, embedding: int, dropout: float
    ) -> None:
        super().__init__()
        self.stem = nn.Linear(features_in, width)
        self.layers = nn.ModuleList(ResidualLayer(width, embedding, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nd.zero(nn.Linear(width, features_out))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        x, embedding = self.stem(x), F.silu(embedding)
        for layer in self.layers:
            x = layer(x, embedding)
        return self.head(self.norm(x))
