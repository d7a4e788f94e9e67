"""Embeddings of ordered tokens that begin as smooth functions of a token's rank."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_WAVES = 4  # each of twice the frequency of the one before


def smooth(size: int) -> Tensor:
    """Return features of the ranks 0 to size − 1: linear, on a normal scale, and as waves, `(size, 10)`."""
    at = (torch.arange(size) + 0.5) / size
    line, normal = 3.4 * (at - 0.5), 1.4 * torch.erfinv((2 * at - 1).clamp(-0.999, 0.999))
    angles = [math.pi * 2**wave * at for wave in range(_WAVES)]
    return torch.stack([line, normal, *(part for angle in angles for part in (angle.sin(), angle.cos()))], dim=1)


def ordinal_embeddings(free: Tensor, weights: Tensor, features: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the embeddings of all tokens of all positions, `(sum of sizes, width)`.

    Each is a free vector plus a linear map of the token's `smooth` features; `free` `(sum of sizes, width)`, `weights`
    `(positions, 10, width)`, `features` `(sum of sizes, 10)`, and `sizes` are the vocabularies of the positions.
    """
    parts = features.split(list(sizes))
    return free + torch.cat([part @ weight for part, weight in zip(parts, weights, strict=True)])
