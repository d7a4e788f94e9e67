"""What symbols that stand in an order tell of themselves by where they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_WAVES = 4  # each of twice the frequency of the one before


def smooth(size: int) -> Tensor:
    """Of each of so many symbols in their order, by itself, on a normal scale, and as waves: `(size, 10)`."""
    at = (torch.arange(size) + 0.5) / size
    line, normal = 3.4 * (at - 0.5), 1.4 * torch.erfinv((2 * at - 1).clamp(-0.999, 0.999))
    angles = [math.pi * 2**wave * at for wave in range(_WAVES)]
    return torch.stack([line, normal, *(part for angle in angles for part in (angle.sin(), angle.cos()))], dim=1)


def embedding_table(own: Tensor, waves: Tensor, features: Tensor, alphabets: Sequence[int]) -> Tensor:
    """The embedding of every symbol of every position, `(sum of alphabets, width)`: its own, and a smooth part.

    `waves` `(positions, 10, width)` map the `smooth` features `(sum of alphabets, 10)` of each position.
    """
    parts = features.split(list(alphabets))
    return own + torch.cat([part @ wave for part, wave in zip(parts, waves, strict=True)])
