"""Conditions are named spaces: their codecs, and the one module that turns them into a context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from .codec import Codec
from .errors import UserError, unknown
from .noise import Noise
from .records import Record, parse_record
from .space import Grid, Space, Tokens


class Context(NamedTuple):
    """The conditions as a network reads them: one vector per sample, and channels for each cell of x."""

    vector: Tensor  # (B, width)
    grid: Tensor  # (B, Conditioner.grid_channels, *size of x)


class Conditioner(nn.Module):
    """Embeds conditions into a `Context`; owns the learned null and drops conditions per sample in training.

    Conditions: `Tokens(vocab, (1,))` (a class; a negative token is the null), `Grid(n, ())` (numbers; NaN is
    the null) and, for a network that reads `grids`, `Grid(n, size)` (a grid; NaN is the null), stretched over
    the cells of x with one more channel that says whether it is there. An absent condition is the null for the whole
    batch. Dropping is all that classifier-free guidance (Ho & Salimans, arXiv 2207.12598) needs; all conditions of a
    sample are dropped together.
    """

    def __init__(self, conditions: Mapping[str, Space], width: int, dropout: float, grids: bool = False) -> None:
        super().__init__()
        self.condition_dropout: float = dropout
        spaces = list(conditions.items())
        grid_names = [name for name, space in spaces if isinstance(space, Grid) and space.size]
        if grid_names and not grids:
            raise UserError(f"condition '{grid_names[0]}' is a grid, which this model cannot read")
        self.grids = {name: space.channels for name, space in spaces if name in grid_names}  # type: ignore[union-attr]
        self.grid_channels = sum(channels + 1 for channels in self.grids.values())
        conditions = {name: space for name, space in spaces if name not in grid_names}
        # By position, because a column may be called what a module may not.
        self.names = list(conditions)
        self.null = nn.ParameterList()
        self.embed = nn.ModuleList()
        for name, space in conditions.items():
            self.null.append(torch.zeros(width))
            if isinstance(space, Tokens) and space.size == (1,):
                self.embed.append(nn.Embedding(space.vocab, width))
            elif isinstance(space, Grid) and space.size == ():
                self.embed.append(nn.Linear(space.channels, width))
            else:
                raise UserError(f"condition '{name}' has the space {space}; expected a class or a vector of numbers")
        self.width = width

    def forward(self, condition: Mapping[str, Tensor], x: Tensor) -> Context:
        """Return the context of a batch x `(B, …)`, whose conditions `(B, *shape)` are given by name.

        Raises UserError on an unknown name.
        """
        for name in condition:
            if name not in self.names and name not in self.grids:
                raise unknown("condition", name, [*self.names, *self.grids])
        count, device = len(x), x.device
        total = torch.zeros(count, self.width, device=device)
        keep = (
            torch.rand(count, 1, device=device) >= self.condition_dropout
            if self.training and self.condition_dropout > 0
            else None
        )
        for name, embed, learned in zip(self.names, self.embed, self.null, strict=True):
            null = learned.expand(count, self.width)
            value = condition.get(name)
            if value is None:
                total = total + null
                continue
            if isinstance(embed, nn.Embedding):
                present = value.reshape(count, 1) >= 0
                embedded = embed(value.reshape(count).clamp(min=0))
            else:
                present = ~value.isnan().any(dim=1, keepdim=True)
                embedded = embed(value.nan_to_num())
            if keep is not None:
                present = present & keep
            total = total + torch.where(present, embedded, null)
        return Context(total, self._grid(condition, x, keep))

    def _grid(self, condition: Mapping[str, Tensor], x: Tensor, keep: Tensor | None) -> Tensor:
        parts = [x.new_zeros(len(x), 0, *x.shape[2:])]
        for name, channels in self.grids.items():
            value = condition.get(name)
            if value is None:
                parts.append(x.new_zeros(len(x), channels + 1, *x.shape[2:]))
                continue
            present = ~value.flatten(1).isnan().any(1, keepdim=True)
            present = present if keep is None else present & keep
            there = present.reshape(-1, *[1] * (x.dim() - 1)).to(value.dtype)
            mode = ("linear", "bilinear", "trilinear")[x.dim() - 3]
            wide = F.interpolate(value.nan_to_num(), size=x.shape[2:], mode=mode, align_corners=False)
            parts += [there * wide, there.expand(-1, 1, *x.shape[2:])]
        return torch.cat(parts, dim=1)


def drop_conditions(condition: Mapping[str, Tensor], probability: float) -> dict[str, Tensor]:
    """Return the conditions of a batch, all null for a random share of its items: the same for several networks."""
    if not condition:
        return {}
    first = next(iter(condition.values()))
    dropped = torch.rand(len(first), device=first.device) < probability
    return {
        name: torch.where(
            dropped.reshape(-1, *[1] * (value.dim() - 1)), torch.nan if value.is_floating_point() else -1, value
        )
        for name, value in condition.items()
    }


class Classes(Record):
    """What the folder of a `LabelCodec` holds."""

    classes: Annotated[list[str], Field(min_length=1)]


class LabelCodec(Codec[Sequence[str]]):
    """Class names as tokens: the codec of a condition such as `label`; an empty name is the null condition."""

    kind = "classes"

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.space = Tokens(vocab=len(self.classes), size=(1,))
        self._index = {name: index for index, name in enumerate(self.classes)}

    @classmethod
    def fit(cls, chunks: Iterable[Sequence[str]], kind: type[Space] = Tokens, options: Any = None) -> Self:
        """Return the codec of these labels, numbers in numeric order. Raises UserError where there are not two."""
        seen = {label for chunk in chunks for label in chunk if label}
        if len(seen) < 2:
            raise UserError(f"a condition needs at least two classes, found {sorted(seen)}; drop --condition")
        return cls(sorted(seen, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))

    def encode(self, items: Sequence[str]) -> Tensor:
        """Return the number of each class, int64 `(B, 1)`, -1 for an empty name.

        Raises UserError on an unseen one, with the nearest known.
        """
        for item in items:
            if item and item not in self._index:
                raise unknown("class", item, self.classes)
        return torch.tensor([[self._index.get(item, -1)] for item in items], dtype=torch.int64).reshape(-1, 1)

    def decode(self, x: Tensor, noise: Noise | None = None) -> list[str]:
        return [self.classes[index] if index >= 0 else "" for index in x.reshape(-1).tolist()]

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"classes": self.classes}, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        return cls(parse_record(config, Classes, "the classes").classes)
