"""Rows of cells as vectors: numbers as quantiles on a normal scale, categories as one-hot vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from morphogen.nn.quantile_scale import QuantileScale

from .column import Column
from .columns import Bins

_FEW = 32  # distinct numbers, up to which a column of them is one-hot
_MOST = 64  # features of a one-hot column; more categories are projected to as many


class NumericEncoding:
    """Vectors of rows, by how many training rows are in each cell.

    First comes a number for each column of many numbers: the quantile of the middle of its cell on a normal scale, or
    0, the median, for a special value. Then comes a one-hot vector for each column that has categories or special
    values; all numbers of a column share the first category. Pseudonyms, which real rows do not have, are left out.
    """

    def __init__(self, columns: Sequence[Column], counts: Sequence[Tensor]) -> None:
        """`counts`: the training rows in each cell of each column, `(size,)`."""
        self.counts = list(counts)
        self._ordered = [_ordered(column) for column in columns]
        self._numbers = [field for field, ordered in enumerate(self._ordered) if ordered]
        self._scale = QuantileScale([self._ordered[field] for field in self._numbers])
        self._scale.fit([self.counts[field][: self._ordered[field]] for field in self._numbers])
        # By field, the category of each cell; a cell without training rows joins the first category.
        self._category: dict[int, Tensor] = {}
        for field, (ordered, count) in enumerate(zip(self._ordered, counts, strict=True)):
            used = count[ordered:].nonzero().flatten() + ordered
            if len(used) and not columns[field].pseudonyms:
                category = torch.zeros(len(count), dtype=torch.int64)
                category[used] = torch.arange(len(used)) + (ordered > 0)
                self._category[field] = category

    def encode(self, x: Tensor) -> Tensor:
        """Return float32 `(B, features)` of cells x `(B, fields)`."""
        parts = [self._quantiles(x)]
        for number, (field, category) in enumerate(self._category.items()):
            one_hot = F.one_hot(category[x[:, field]], int(category.max()) + 1).float()
            parts.append(_projected(one_hot, seed=number))
        return torch.cat(parts, dim=1)

    def _quantiles(self, x: Tensor) -> Tensor:
        cells = x[:, self._numbers]
        ordered = torch.tensor([self._ordered[field] for field in self._numbers], dtype=torch.int64)
        special = cells >= ordered
        quantiles = self._scale.normal(cells.where(~special, 0), torch.full(cells.shape, 0.5))
        return quantiles.masked_fill(special, 0.0)


def count_cells(columns: Sequence[Column], x: Tensor) -> list[Tensor]:
    """Return how many rows of x `(B, fields)` are in each cell of each column, `(size,)` each."""
    return [torch.bincount(own, minlength=column.field.size) for column, own in zip(columns, x.T, strict=True)]


def _ordered(column: Column) -> int:
    """Return the number of ordered cells of a column of many numbers, 0 for any other column."""
    many = isinstance(column, Bins) or column.field.ordered > _FEW
    return column.field.ordered if many else 0


def _projected(one_hot: Tensor, seed: int) -> Tensor:
    """Return one-hot vectors of many categories as points on a sphere, about as far from each other as before."""
    if one_hot.shape[1] <= _MOST:
        return one_hot
    random = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(one_hot.shape[1], _MOST, generator=random))[one_hot.argmax(1)]
