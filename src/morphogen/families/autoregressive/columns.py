"""Rows of columns in any order: a small perceptron for each position, told the sum of what the visible ones say.

Equations: README.md, "Rows of columns".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.model import Batch
from ...core.space import Tokens
from ...nn.ordered import embedding_table, smooth
from ...sampling.logits import draw
from .options import ColumnOptions

_TARGETS = 64  # positions that a step learns of at most, drawn anew each time
# Of calibration; rows are the last two. Of more than _TARGETS positions, where each takes long, one round of _AT_ONCE.
_ROUNDS, _STEPS, _CALIBRATED, _AT_ONCE = 2, 6, 2**15, 2**13
_KEPT = 2**24  # numbers of tables that are kept while rows are drawn
_UNSEEN, _NOTHING = -30.0, -1e4  # logits of a symbol that no row has, and of what is none


class Group(NamedTuple):
    """Slots from `begin` to `stop`, whose alphabets are of about one size, so that their heads are one product."""

    begin: int
    stop: int
    largest: int


class Columns(nn.Module):
    """p(symbol of a position | those of any others), of the positions that are modelled."""

    smooth: Tensor
    begins: Tensor
    alphabets: Tensor

    def __init__(self, space: Tokens, options: ColumnOptions) -> None:
        super().__init__()
        assert isinstance(space.vocab, tuple)
        options = options.settled(0)
        sizes = list(space.vocab[: len(space.vocab) - space.even])
        parts = list(space.parts) or [1] * len(sizes)
        count, width, hidden = len(sizes), options.embedding, options.width
        self.count, self.options = count, options
        # The part of each position, and its place in it: a part is read as a whole, in its own order.
        self.part = [number for number, size in enumerate(parts) for _ in range(size)]
        self.place = [place for size in parts for place in range(size)]
        # Perceptrons stand in slots, sorted by the size of their alphabets; embeddings by position.
        self.slots = sorted(range(count), key=lambda position: _padded(sizes[position]))
        self.slot = sorted(range(count), key=self.slots.__getitem__)
        self.register_buffer("alphabets", torch.tensor(sizes), persistent=False)
        self.register_buffer("begins", torch.tensor([0, *accumulate(sizes)][:-1]), persistent=False)
        self.register_buffer("smooth", torch.cat([smooth(size) for size in sizes]), persistent=False)
        features = self.smooth.shape[1]
        self.embed = nn.Parameter(0.5 * torch.randn(sum(sizes), width))
        self.waves = nn.Parameter(0.3 * torch.randn(count, features, width))
        self.hidden = nn.Parameter(0.2 * torch.randn(count, width))  # in the place of a symbol that is not visible
        self.query = nn.Parameter(torch.zeros(count, 1, width))
        self.first = nn.Parameter(1.4 * torch.randn(count, width, hidden) / math.sqrt(width))
        self.first_bias = nn.Parameter(torch.zeros(count, 1, hidden))
        self.second = nn.Parameter(1.4 * torch.randn(count, hidden, hidden) / math.sqrt(hidden))
        self.second_bias = nn.Parameter(torch.zeros(count, 1, hidden))
        self.groups = _groups([sizes[position] for position in self.slots])
        self.heads = nn.ParameterList([torch.zeros(one.stop - one.begin, hidden, one.largest) for one in self.groups])
        self.head_biases = nn.ParameterList([torch.zeros(one.stop - one.begin, 1, one.largest) for one in self.groups])
        # What the biases are on top of: ln of the frequencies.
        self.often = nn.Module()
        for number, one in enumerate(self.groups):
            lacking = torch.arange(one.largest) >= torch.tensor(sizes)[self.slots[one.begin : one.stop]][:, None, None]
            self.often.register_buffer(str(number), torch.zeros(lacking.shape).masked_fill(lacking, _NOTHING))

    def begin(self, batches: Iterable[Batch]) -> None:
        """Each head starts at the frequencies of its symbols."""
        count = torch.zeros(len(self.embed), dtype=torch.float64, device=self.embed.device)
        for batch in batches:
            symbols = batch.x[:, : self.count] + self.begins
            count += symbols.flatten().bincount(minlength=len(count))
        for group, often_so in zip(self.groups, self.often.buffers(), strict=True):
            for row, position in enumerate(self.slots[group.begin : group.stop]):
                size = int(self.alphabets[position])
                own = count[self.begins[position] : self.begins[position] + size]
                start = (own / own.sum().clamp(min=1)).log().clamp(min=_UNSEEN)
                often_so[row, 0] = F.pad(start, (0, group.largest - size), value=_NOTHING)

    def table(self) -> Tensor:
        """The embedding of every symbol of every position, `(sum of alphabets, embedding)`: smooth, and its own."""
        return embedding_table(self.embed, self.waves, self.smooth, self.alphabets.tolist())

    def nats(self, x: Tensor, visible: Tensor, slots: Tensor | None = None) -> Tensor:
        """−ln p of the symbols `(T, B)` of the positions in some slots, rising; all unless given.

        `visible` bool `(B, T, positions)`: what each of them may be told.
        """
        said = F.embedding(x + self.begins, self.table()) - self.hidden
        told = torch.bmm(visible.to(said.dtype), said).transpose(0, 1) + self.hidden.sum(0)
        every = slots is None
        chosen = torch.arange(self.count, device=x.device) if slots is None else slots
        hidden = self._hidden(told, slice(None) if every else chosen)
        wanted = x.t()[torch.tensor(self.slots, device=x.device)[chosen]]
        found = []
        for group, head, bias in zip(self.groups, self.heads, self.biases(), strict=True):
            begin, stop = torch.searchsorted(chosen, torch.tensor([group.begin, group.stop], device=x.device)).tolist()
            if begin == stop:
                continue
            rows = slice(None) if every else chosen[begin:stop] - group.begin
            logits = torch.baddbmm(bias[rows], hidden[begin:stop], head[rows])
            cost = F.cross_entropy(logits.float().flatten(0, 1), wanted[begin:stop].flatten(), reduction="none")
            found.append(cost.reshape(stop - begin, -1))
        return torch.cat(found)

    def head(self, position: int) -> tuple[int, int]:
        """The number of its group, and its row there."""
        slot = self.slot[position]
        number = [slot < group.stop for group in self.groups].index(True)
        return number, slot - self.groups[number].begin

    def biases(self) -> list[Tensor]:
        return [bias + often for bias, often in zip(self.head_biases, self.often.buffers(), strict=True)]

    def _hidden(self, told: Tensor, slots: slice | Tensor) -> Tensor:
        """What the perceptrons make of the sums `(T, B, embedding)`."""
        read = (told + self.query[slots]) * self.count**-0.5
        found = F.silu(torch.baddbmm(self.first_bias[slots], read, self.first[slots]))
        found = F.silu(torch.baddbmm(self.second_bias[slots], self._thinned(found), self.second[slots]))
        return self._thinned(found)

    def _thinned(self, hidden: Tensor) -> Tensor:
        """Dropout, of one draw for all positions of a row: they do not see each other, and draws take long."""
        if not self.training or not self.options.dropout:
            return hidden
        keep = 1 - (self.options.dropout or 0.0)
        drawn = torch.empty(hidden.shape[1:], device=hidden.device, dtype=hidden.dtype).bernoulli_(keep)
        return hidden * drawn.div_(keep)

    def forward(self, x: Tensor) -> Tensor:
        """Nats of each row `(B,)`, under an order of its own for half of them, and the columns' own for the others."""
        x = x[:, : self.count]
        rank, order = self._ranks(len(x), x.device), torch.tensor(self.slots, device=x.device)
        if self.count <= _TARGETS:
            return self.nats(x, rank[:, None, :] < rank[:, order, None]).sum(0)
        slots = torch.randperm(self.count, device=x.device)[:_TARGETS].sort().values
        visible = rank[:, None, :] < rank[:, order[slots], None]
        return self.nats(x, visible, slots).sum(0) * (self.count / _TARGETS)

    def in_order(self, x: Tensor) -> Tensor:
        """−ln p of each symbol given those before it, `(positions, B)`."""
        x = x[:, : self.count]
        earlier = torch.ones(self.count, self.count, dtype=torch.bool, device=x.device).tril(-1)[self.slots]
        return self.nats(x, earlier.expand(len(x), -1, -1))[self.slot]

    def given_others(self, x: Tensor) -> Tensor:
        """−ln p of each symbol given those of all other parts and those before it in its own, `(positions, B)`."""
        x = x[:, : self.count]
        part, place = torch.tensor(self.part, device=x.device), torch.tensor(self.place, device=x.device)
        visible = (part[:, None] != part) | (place < place[:, None])
        return self.nats(x, visible[self.slots].expand(len(x), -1, -1))[self.slot]

    def _ranks(self, count: int, device: torch.device) -> Tensor:
        """The place of each position in the order of each row, `(B, positions)`."""
        part, place = torch.tensor(self.part, device=device), torch.tensor(self.place, device=device)
        parts = int(part[-1]) + 1
        own = torch.rand(count, parts, device=device).argsort(1).argsort(1)
        in_order = torch.arange(parts, device=device).expand(count, -1)
        fixed = torch.rand(count, 1, device=device) < self.options.in_order
        return torch.where(fixed, in_order, own)[:, part] * (max(self.place) + 1) + place


@torch.no_grad()
def calibrate(columns: Columns) -> None:
    """README, equation 7: biases are moved until each symbol is drawn as often, on average, as it is in the data."""
    random = torch.Generator().manual_seed(0)
    rounds, rows = (_ROUNDS, _CALIBRATED) if columns.count <= _TARGETS else (1, _AT_ONCE)
    for _ in range(rounds):
        drawing = Drawing(columns)
        x = torch.zeros(rows, columns.count, dtype=torch.int64, device=columns.embed.device)
        for position in range(columns.count):
            visible = list(range(position))
            logits = torch.cat([drawing.logits(position, part, visible, None) for part in x.split(_AT_ONCE)]).double()
            number, row = columns.head(position)
            size = logits.shape[1]
            often = list(columns.often.buffers())[number][row, 0, :size].double().exp()
            change = torch.zeros_like(often)
            for _ in range(_STEPS):
                p = (logits + change).softmax(-1)
                # Newton's step of each bias by itself; where others all but settle a symbol, its bias has to go far.
                step = (often - p.mean(0)) / (p * (1 - p)).mean(0).clamp(min=1e-12)
                change += step.clamp(-1, 1).where(often > 2 * math.exp(_UNSEEN), 0.0)
            columns.head_biases[number][row, 0, :size] += change.to(columns.head_biases[number].dtype)
            # One in each of as many strata, so that the rows' own luck is not taken for the network's fault.
            strata = torch.randperm(len(x), generator=random)
            uniform = (strata + torch.rand(len(x), generator=random, dtype=torch.float64)) / len(x)
            uniform = uniform.to(x.device)
            x[:, position] = draw((logits + change).softmax(-1), uniform)


class Drawing:
    """Rows under way: what is known of each, and the distribution of one position more after the other.

    The first layer is a sum over visible symbols, so it is looked up instead of multiplied out.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        said = columns.table() - columns.hidden.repeat_interleave(columns.alphabets, 0)
        base = (columns.hidden.sum(0) + columns.query) * columns.count**-0.5
        self.base = torch.baddbmm(columns.first_bias, base, columns.first).squeeze(1)
        self.said = said * columns.count**-0.5
        self.biases = columns.biases()
        # What each symbol says to the first layer of each position, kept where it is not too much.
        self._tables: dict[int, Tensor] = {}
        self._keeps = len(said) * columns.first_bias.numel() <= _KEPT

    def _table(self, slot: int) -> Tensor:
        """`(sum of alphabets + 1, width)`; the last row is nothing."""
        found = self._tables.get(slot)
        if found is None:
            found = F.pad(self.said @ self.columns.first[slot], (0, 0, 0, 1))
            if self._keeps:
                self._tables[slot] = found
        return found

    def logits(self, position: int, x: Tensor, visible: Sequence[int], known: Tensor | None) -> Tensor:
        """`(B, alphabet)`, given the symbols at `visible` positions, or of these where they are `known` `(B, L)`."""
        columns = self.columns
        slot = columns.slot[position]
        hidden = self.base[slot].expand(len(x), -1)
        if visible:
            table = self._table(slot)
            index = x[:, visible] + columns.begins[visible]
            if known is not None:
                index = index.where(known[:, visible], len(table) - 1)
            hidden = F.embedding_bag(index, table, mode="sum").add_(self.base[slot])
        hidden = torch.addmm(columns.second_bias[slot], F.silu(hidden), columns.second[slot])
        hidden = F.silu(hidden, inplace=True)
        size, (number, row) = int(columns.alphabets[position]), columns.head(position)
        return torch.addmm(self.biases[number][row, :, :size], hidden, columns.heads[number][row, :, :size])


def _padded(size: int) -> int:
    """The power of two, from 16 on, that holds an alphabet."""
    return max(16, 1 << (size - 1).bit_length())


def _groups(sizes: Sequence[int]) -> list[Group]:
    """Of the sizes in slots, which are sorted by `_padded`."""
    found: list[Group] = []
    for slot, size in enumerate(sizes):
        if found and _padded(found[-1].largest) == _padded(size):
            found[-1] = found[-1]._replace(stop=slot + 1, largest=max(found[-1].largest, size))
        else:
            found.append(Group(slot, slot + 1, size))
    return found
