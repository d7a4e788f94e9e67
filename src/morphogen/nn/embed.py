"""Embeddings of numbers, such as noise levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of a number at geometric frequencies (Vaswani et al., arXiv 1706.03762, section 3.5).

    Maps numbers `(B,)`, roughly in [-4, 4], to `(B, width)`.
    """

    frequencies: Tensor

    def __init__(self, width: int, low: float = 0.1, high: float = 10.0) -> None:
        super().__init__()
        self.register_buffer(
            "frequencies", torch.logspace(math.log10(low), math.log10(high), width // 2), persistent=False
        )

    def forward(self, value: Tensor) -> Tensor:
        angle = value.float().unsqueeze(-1) * self.frequencies
        return torch.cat((angle.cos(), angle.sin()), dim=-1)
