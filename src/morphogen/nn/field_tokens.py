"""The fields of a row as one or two tokens each: a number of many cells is predicted coarse to fine."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn

from ..core.space import Field, Row

FINE = 8  # cells that share a coarse token
_SPLIT = 128  # ordered cells from which on a field takes two tokens


class FieldTokens(nn.Module):
    """Maps cells `(B, fields)` to tokens `(B, positions)` and back; a field's positions follow each other.

    A field of fewer than 128 ordered cells has one token: its cell. Of any other the first token is a group of FINE
    neighbouring cells, or a special value; the second is the cell within the group, or FINE after a special value. It
    is a module without parameters, so that its tables are on the device of the model.
    """

    _field: Tensor  # (positions,)
    _place: Tensor  # (positions,)
    _first: Tensor  # (fields,), as the others: the first position, whether there are two, ordered cells, groups of them
    _split: Tensor
    _ordered: Tensor
    _groups: Tensor

    def __init__(self, space: Row) -> None:
        super().__init__()
        fields = space.fields
        self.fields = fields
        widths = [1 + self.is_split(number) for number in range(len(fields))]
        self.first: list[int] = [0, *accumulate(widths)][:-1]  # position of each field
        self.field: list[int] = [
            number for number, width in enumerate(widths) for _ in range(width)
        ]  # of each position
        self.place: list[int] = [place for width in widths for place in range(width)]  # of each position in its field
        self.sizes: list[int] = []  # of the vocabulary of each position
        for number, field in enumerate(fields):
            special = field.size - field.ordered
            self.sizes += [_groups(field) + special, FINE + 1] if self.is_split(number) else [field.size]
        for name, values in (
            ("_field", self.field),
            ("_place", self.place),
            ("_first", self.first),
            ("_split", [self.is_split(number) for number in range(len(fields))]),
            ("_ordered", [field.ordered for field in fields]),
            ("_groups", [_groups(field) for field in fields]),
        ):
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def is_split(self, field: int) -> bool:
        """Return whether that field takes two tokens."""
        return self.fields[field].ordered >= _SPLIT

    def positions(self, field: int) -> list[int]:
        """Return the positions of a field's tokens."""
        return [self.first[field] + place for place in range(1 + self.is_split(field))]

    def encode(self, x: Tensor) -> Tensor:
        """Return tokens int64 `(B, positions)` of cells `(B, fields)`."""
        split, ordered, groups = (values[self._field] for values in (self._split, self._ordered, self._groups))
        cell = x[:, self._field]
        special = cell >= ordered
        coarse = torch.where(special, cell - ordered + groups, cell // FINE)
        fine = torch.where(special, FINE, cell % FINE)
        return torch.where(split, torch.where(self._place == 0, coarse, fine), cell)

    def decode(self, tokens: Tensor) -> Tensor:
        """Return cells int64 `(B, fields)`, the reverse of `encode`; tokens that stand for no cell take the nearest."""
        first, last = tokens[:, self._first], tokens[:, self._first + self._split]
        inside = (first * FINE + last.clamp(max=FINE - 1)).minimum(self._ordered - 1)
        cell = torch.where(first < self._groups, inside, first - self._groups + self._ordered)
        return torch.where(self._split, cell, first)

    def cell(self, field: int, tokens: Tensor) -> Tensor:
        """Return the cells `(B,)` of one field, as `decode` does."""
        first, count = tokens[:, self.first[field]], self.fields[field].ordered
        if not self.is_split(field):
            return first
        groups, second = _groups(self.fields[field]), tokens[:, self.first[field] + 1]
        inside = (first * FINE + second.clamp(max=FINE - 1)).clamp(max=count - 1)
        return torch.where(first < groups, inside, first - groups + count)

    def spread(self, values: Tensor) -> Tensor:
        """Return values of fields `(…, fields)` as those of their positions, `(…, positions)`."""
        return values[..., self._field]

    def coarse(self, field: int, values: Tensor) -> Tensor:
        """Return the largest value among the cells that each first token stands for: `(…, size)` to `(…, tokens)`."""
        if not self.is_split(field):
            return values
        ordered, special = self._by_group(field, values)
        return torch.cat((ordered.amax(-1), special), dim=-1)

    def fine(self, field: int, values: Tensor, first: Tensor) -> Tensor:
        """Return the values of each second token after the first tokens `(B,)`: `(B or 1, size)` to `(B, FINE + 1)`.

        0 for a second token that cannot follow.
        """
        ordered, special = self._by_group(field, values)
        groups = ordered.shape[-2]
        rows = torch.arange(len(first), device=first.device) if len(values) > 1 else torch.zeros_like(first)
        inside = ordered[rows, first.clamp(max=groups - 1)]
        outside = special[rows, (first - groups).clamp(min=0)] if special.shape[-1] else values.new_zeros(len(first))
        is_special = (first >= groups)[:, None]
        inside = torch.where(is_special, torch.zeros_like(inside), inside)
        outside = torch.where(is_special, outside[:, None], torch.zeros_like(outside[:, None]))
        return torch.cat((inside, outside), dim=-1)

    def _by_group(self, field: int, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values of ordered cells as `(…, groups, FINE)`, padded with 0, and those of the special ones."""
        count = self.fields[field].ordered
        ordered, special = values[..., :count], values[..., count:]
        padded = values.new_zeros(*values.shape[:-1], _groups(self.fields[field]) * FINE)
        padded[..., :count] = ordered
        return padded.unflatten(-1, (-1, FINE)), special


def _groups(field: Field) -> int:
    return -(-field.ordered // FINE)
