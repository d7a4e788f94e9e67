"""The cells of rows as numbers on a normal scale and categories."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.model import Batch
from ...core.space import Row
from ...nn.quantile_scale import QuantileScale

_MAX_CATEGORIES = 32  # ordered cells up to which a field is a category


class RowEncoding(nn.Module):
    """Maps cells `(B, fields)` to numbers `(B, R)` and categories `(B, G)`, and back.

    A field of more than 32 ordered cells is a number, and where it has special cells a category, too: 0 if its value is
    a number, else which special cell. Every other field is a category. A cell that `fit` has not seen is no category to
    choose.
    """

    seen: Tensor
    begins: Tensor
    shift: Tensor

    def __init__(self, space: Row) -> None:
        super().__init__()
        fields = space.fields
        self.fields = fields
        self.numbers = [at for at, field in enumerate(fields) if field.ordered > _MAX_CATEGORIES]
        self.categories = [
            at for at, field in enumerate(fields) if at not in self.numbers or field.size > field.ordered
        ]
        shift = [fields[at].ordered - 1 if at in self.numbers else 0 for at in self.categories]
        self.sizes = [fields[at].size - less for at, less in zip(self.categories, shift, strict=True)]
        self.scale = QuantileScale([fields[at].ordered for at in self.numbers])
        begins = [0, *accumulate(self.sizes)][:-1]
        self.register_buffer("begins", torch.tensor(begins, dtype=torch.int64), persistent=False)
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.int64), persistent=False)
        self.register_buffer("seen", torch.ones(sum(self.sizes), dtype=torch.bool))

    @property
    def channels(self) -> int:
        """Return the channels of numbers and one-hot categories together."""
        return len(self.numbers) + sum(self.sizes)

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Set the scale of the numbers and the categories to choose from by the cells of training items."""
        counts = [torch.zeros(field.size, dtype=torch.int64, device=self.seen.device) for field in self.fields]
        for batch in batches:
            for count, cell in zip(counts, batch.x.unbind(1), strict=True):
                count += cell.bincount(minlength=len(count))
        self.scale.fit([counts[at][: self.fields[at].ordered] for at in self.numbers])
        parts = []
        for at, shift in zip(self.categories, self.shift.tolist(), strict=True):
            parts.append(torch.cat((counts[at][: shift + 1].sum(0, keepdim=True), counts[at][shift + 1 :])) > 0)
        if parts:
            self.seen.copy_(torch.cat(parts))

    def encode(self, x: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers `(B, R)` float32 at `inside` `(B, R)` in [0, 1) of their cells, and categories `(B, G)` int64.

        The number of a special cell is independent noise, by `inside`, too.
        """
        cell = x[:, self.numbers]
        special = cell >= torch.tensor([self.fields[at].ordered for at in self.numbers], device=x.device)
        noise = torch.special.ndtri(inside.double().clamp(1e-6, 1 - 1e-6)).float()
        numbers = torch.where(special, noise, self.scale.normal(cell.masked_fill(special, 0), inside))
        return numbers, (x[:, self.categories] - self.shift).clamp(min=0)

    def decode(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return the cells, int64 `(B, fields)`: the reverse of `encode`."""
        x = torch.zeros(len(numbers), len(self.fields), dtype=torch.int64, device=numbers.device)
        x[:, self.numbers] = self.scale.cell(numbers)
        is_number = (categories == 0) & (self.shift > 0)
        x[:, self.categories] = torch.where(is_number, x[:, self.categories], categories + self.shift)
        return x

    def one_hot(self, categories: Tensor, masked: Tensor) -> Tensor:
        """Return one-hot categories, float32 `(B, channels - R)`, all 0 where `masked` `(B, G)`."""
        channels = torch.zeros(len(categories), sum(self.sizes), device=categories.device)
        return channels.scatter_(1, self.begins + categories, (~masked).to(channels.dtype))

    def logits(self, output: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of each category `(B, size)`, of a network's output `(B, channels - R)`."""
        return output.masked_fill(~self.seen, -torch.inf).split(self.sizes, dim=1)

    def nll(self, output: Tensor, categories: Tensor) -> Tensor:
        """Return −ln p of each category, `(B, G)` in nats; 0 for one that `fit` has not seen."""
        target = torch.where(self.seen[self.begins + categories], categories, -1)
        parts = [
            F.cross_entropy(logits, own, reduction="none", ignore_index=-1)
            for logits, own in zip(self.logits(output), target.unbind(1), strict=True)
        ]
        return torch.stack(parts, dim=1) if parts else output.new_zeros(len(output), 0)

    def terms(self) -> Tensor:
        """Return how many numbers, and categories with a choice, a row has."""
        choices = torch.stack([part.sum() > 1 for part in self.seen.split(self.sizes)]).sum() if self.sizes else 0
        return torch.as_tensor(len(self.numbers) + choices, device=self.seen.device).clamp(min=1)
