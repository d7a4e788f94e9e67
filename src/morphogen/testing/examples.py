"""Small spaces of every kind, and made-up items in them, for the contract checks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.model import Batch
from ..core.space import Field, Grid, Row, Space, Tokens, TokenSequence

CLASSES = 3
SPACES: Mapping[type[Space], tuple[Space, ...]] = {
    Grid: (Grid(4), Grid(2, (16,)), Grid(1, (8, 8)), Grid(1, (2, 4, 4))),
    Tokens: (Tokens(5, (8,)), Tokens(5, (4, 4))),
    TokenSequence: (TokenSequence(vocab=8, context=16, start=6, end=7),),
    Row: (Row((Field(3), Field(4, ordered=3), Field(5, ordered=5), Field(40, ordered=38), Field(8))),),
}


def example_batch(space: Space, conditions: Mapping[str, Space], count: int = 96) -> Batch:
    """Return made-up items that depend on their class: the level of a grid does, or most tokens or cells."""
    random = torch.Generator().manual_seed(1)
    label = torch.arange(count) % CLASSES
    column = label.reshape(-1, *[1] * len(space.shape))
    if isinstance(space, Grid):
        x = (column - 1) * 0.6 + 0.1 * torch.randn(count, *space.shape, generator=random)
    else:
        sizes = _vocab(space)
        uniform = torch.rand(count, *space.shape, generator=random, dtype=torch.float64)
        rare = torch.rand(count, *space.shape, generator=random) < 0.2
        x = torch.where(rare, (uniform * sizes).long(), column % sizes)
    if isinstance(space, TokenSequence):
        length = torch.randint(space.context // 2, space.context, (count, 1), generator=random)
        x = x.where(torch.arange(space.context) < length, space.end)
        x[:, 0] = space.start
    return Batch(x, {name: _condition(one, label, random) for name, one in conditions.items()})


def _vocab(space: Space) -> Tensor:
    """Return how many values there are for each entry, special tokens left out."""
    if isinstance(space, Row):
        return torch.tensor([field.size for field in space.fields])
    assert not isinstance(space, Grid)
    return torch.tensor(min(space.start, space.end) if isinstance(space, TokenSequence) else space.vocab)


def _condition(space: Space, label: Tensor, random: torch.Generator) -> Tensor:
    if isinstance(space, Tokens):
        return label.reshape(-1, 1)
    level = (label.reshape(-1, *[1] * len(space.shape)) - 1) * 0.6
    return level + 0.1 * torch.randn(len(label), *space.shape, generator=random)


def canonical(space: Space, x: Tensor, width: int = 0) -> Tensor:
    """Return sequences with all after the first end replaced by ends, at least `width` long; all else as it is."""
    if not isinstance(space, TokenSequence):
        return x
    x = torch.nn.functional.pad(x, (0, max(0, width - x.shape[1])), value=space.end)
    return x.masked_fill(x.eq(space.end).cumsum(1).bool(), space.end)
