"""Rows predicted in any order of their fields: an MLP for each token, on the sum of the embeddings of the visible ones.

Equations: README.md, "Rows".
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nn.field_tokens import FieldTokens
from ...nn.ordinal_embedding import ordinal_embeddings, smooth
from ...sampling.logits import draw
from .options import RowOptions

_TARGETS = 64  # most positions that a training step predicts, chosen anew for each
# Of calibration; the last two count rows. With more than _TARGETS positions, which are slow, one round of _CHUNK.
_ROUNDS, _STEPS, _CALIBRATION_ROWS, _CHUNK = 2, 6, 2**15, 2**13
_FEWEST_ROWS = 2**11  # to calibrate with
_TABLE_NUMBERS = 2**24  # most numbers in tables that are kept while rows are sampled
_UNSEEN, _ABSENT = -30.0, -1e4  # logits of a token that no row has, and of padding


class Group(NamedTuple):
    """Slots from `begin` to `stop`, whose vocabularies have about one size, so that their heads are one product."""

    begin: int
    stop: int
    largest: int


class AnyOrderMLP(nn.Module):
    """p(token of a position | the tokens of any other positions)."""

    smooth: Tensor
    begins: Tensor
    sizes: Tensor

    def __init__(self, tokens: FieldTokens, options: RowOptions) -> None:
        super().__init__()
        sizes = list(tokens.sizes)
        self.count, self.options = len(sizes), options.resolve(0)
        count, width, hidden = self.count, self.options.embedding, self.options.width
        assert width is not None
        assert hidden is not None
        # A field's positions are predicted together, in their own order.
        self.field, self.place = tokens.field, tokens.place
        # MLPs stand in slots, sorted by the size of their vocabulary; embeddings by position.
        self.slots = sorted(range(count), key=lambda position: _padded(sizes[position]))
        self.slot = sorted(range(count), key=self.slots.__getitem__)
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        self.register_buffer("begins", torch.tensor([0, *accumulate(sizes)][:-1]), persistent=False)
        self.register_buffer("smooth", torch.cat([smooth(size) for size in sizes]), persistent=False)
        features = self.smooth.shape[1]
        self.embed = nn.Parameter(0.5 * torch.randn(sum(sizes), width))
        self.waves = nn.Parameter(0.3 * torch.randn(count, features, width))
        self.hidden = nn.Parameter(0.2 * torch.randn(count, width))  # in place of a token that is not visible
        self.query = nn.Parameter(torch.zeros(count, 1, width))
        self.first = nn.Parameter(1.4 * torch.randn(count, width, hidden) / math.sqrt(width))
        self.first_bias = nn.Parameter(torch.zeros(count, 1, hidden))
        self.second = nn.Parameter(1.4 * torch.randn(count, hidden, hidden) / math.sqrt(hidden))
        self.second_bias = nn.Parameter(torch.zeros(count, 1, hidden))
        self.groups = _groups([sizes[position] for position in self.slots])
        self.heads = nn.ParameterList([torch.zeros(one.stop - one.begin, hidden, one.largest) for one in self.groups])
        self.head_biases = nn.ParameterList([torch.zeros(one.stop - one.begin, 1, one.largest) for one in self.groups])
        # To which the biases are added.
        self.log_frequencies = nn.Module()
        for number, group in enumerate(self.groups):
            limits = torch.tensor(sizes)[self.slots[group.begin : group.stop]][:, None, None]
            padding = torch.arange(group.largest) >= limits
            initial = torch.zeros(padding.shape).masked_fill(padding, _ABSENT)
            self.log_frequencies.register_buffer(str(number), initial)

    def initialize(self, batches: Iterable[Tensor]) -> None:
        """Set the log-frequencies of the tokens from batches `(B, positions)`."""
        count = torch.zeros(len(self.embed), dtype=torch.float64, device=self.embed.device)
        for x in batches:
            count += (x + self.begins).flatten().bincount(minlength=len(count))
        for group, frequencies in zip(self.groups, self.log_frequencies.buffers(), strict=True):
            for row, position in enumerate(self.slots[group.begin : group.stop]):
                size = int(self.sizes[position])
                own = count[self.begins[position] : self.begins[position] + size]
                log_frequency = (own / own.sum().clamp(min=1)).log().clamp(min=_UNSEEN)
                frequencies[row, 0] = F.pad(log_frequency, (0, group.largest - size), value=_ABSENT)

    def embeddings(self) -> Tensor:
        """Return the embeddings of all tokens of all positions, `(sum of sizes, embedding)`."""
        return ordinal_embeddings(self.embed, self.waves, self.smooth, self.sizes.tolist())

    def nats(self, x: Tensor, visible: Tensor, slots: Tensor | None = None) -> Tensor:
        """Return −ln p of the tokens of x `(B, positions)` in some slots, rising, `(T, B)`; None: in all.

        `visible` bool `(B, T, positions)`: the tokens that each prediction reads.
        """
        embedded = F.embedding(x + self.begins, self.embeddings()) - self.hidden
        context = torch.bmm(visible.to(embedded.dtype), embedded).transpose(0, 1) + self.hidden.sum(0)
        every = slots is None
        chosen = torch.arange(self.count, device=x.device) if slots is None else slots
        hidden = self._hidden(context, slice(None) if every else chosen)
        target = x.t()[torch.tensor(self.slots, device=x.device)[chosen]]
        parts = []
        for group, head, bias in zip(self.groups, self.heads, self.biases(), strict=True):
            begin, stop = torch.searchsorted(chosen, torch.tensor([group.begin, group.stop], device=x.device)).tolist()
            if begin == stop:
                continue
            rows = slice(None) if every else chosen[begin:stop] - group.begin
            logits = torch.baddbmm(bias[rows], hidden[begin:stop], head[rows])
            nats = F.cross_entropy(logits.float().flatten(0, 1), target[begin:stop].flatten(), reduction="none")
            parts.append(nats.reshape(stop - begin, -1))
        return torch.cat(parts)

    def head(self, position: int) -> tuple[int, int]:
        """Return the number of a position's group, and its row in the group's head."""
        slot = self.slot[position]
        number = [slot < group.stop for group in self.groups].index(True)
        return number, slot - self.groups[number].begin

    def biases(self) -> list[Tensor]:
        """Return the biases of each group's heads, log-frequencies included."""
        pairs = zip(self.head_biases, self.log_frequencies.buffers(), strict=True)
        return [bias + log_frequency for bias, log_frequency in pairs]

    def _hidden(self, context: Tensor, slots: slice | Tensor) -> Tensor:
        """Return the last hidden layer of the MLPs in those slots, from sums of embeddings `(T, B, embedding)`."""
        inputs = (context + self.query[slots]) * self.count**-0.5
        h = F.silu(torch.baddbmm(self.first_bias[slots], inputs, self.first[slots]))
        h = F.silu(torch.baddbmm(self.second_bias[slots], self._dropout(h), self.second[slots]))
        return self._dropout(h)

    def _dropout(self, hidden: Tensor) -> Tensor:
        """Return hidden after dropout, with one mask for all positions of a row: random numbers are slow."""
        if not self.training or not self.options.dropout:
            return hidden
        keep = 1 - (self.options.dropout or 0.0)
        mask = torch.empty(hidden.shape[1:], device=hidden.device, dtype=hidden.dtype).bernoulli_(keep)
        return hidden * mask.div_(keep)

    def forward(self, x: Tensor) -> Tensor:
        """Return −ln p of each row, `(B,)` in nats, in the order of its fields or, of a share of rows, in a random one.

        With many positions it is an unbiased estimate from some of them.
        """
        rank, slots = self._ranks(len(x), x.device), torch.tensor(self.slots, device=x.device)
        if self.count <= _TARGETS:
            return self.nats(x, rank[:, None, :] < rank[:, slots, None]).sum(0)
        targets = torch.randperm(self.count, device=x.device)[:_TARGETS].sort().values
        visible = rank[:, None, :] < rank[:, slots[targets], None]
        return self.nats(x, visible, targets).sum(0) * (self.count / _TARGETS)

    def in_order(self, x: Tensor) -> Tensor:
        """Return −ln p of each token given those before it, `(positions, B)`."""
        earlier = torch.ones(self.count, self.count, dtype=torch.bool, device=x.device).tril(-1)[self.slots]
        return self.nats(x, earlier.expand(len(x), -1, -1))[self.slot]

    def given_others(self, x: Tensor) -> Tensor:
        """Return −ln p of each token given all other fields and those before it in its own, `(positions, B)`."""
        field, place = torch.tensor(self.field, device=x.device), torch.tensor(self.place, device=x.device)
        visible = (field[:, None] != field) | (place < place[:, None])
        return self.nats(x, visible[self.slots].expand(len(x), -1, -1))[self.slot]

    def _ranks(self, count: int, device: torch.device) -> Tensor:
        """Return the place of each position in the order of each row, `(B, positions)`."""
        field, place = torch.tensor(self.field, device=device), torch.tensor(self.place, device=device)
        fields = int(field[-1]) + 1
        random = torch.rand(count, fields, device=device).argsort(1).argsort(1)
        in_order = torch.arange(fields, device=device).expand(count, -1)
        fixed = torch.rand(count, 1, device=device) < self.options.in_order
        return torch.where(fixed, in_order, random)[:, field] * (max(self.place) + 1) + place


@torch.no_grad()
def calibrate(network: AnyOrderMLP, seconds: float | None = None) -> None:
    """Move the biases until each token is sampled as often, on average, as in the data; README, equation 7.

    Where `seconds` are given, a first round on few rows shows how many rows these suffice for.
    """
    random = torch.Generator().manual_seed(0)
    rounds, rows = (_ROUNDS, _CALIBRATION_ROWS) if network.count <= _TARGETS else (1, _CHUNK)
    if seconds is not None:
        started = time.monotonic()
        _calibrate_round(network, _FEWEST_ROWS, random)
        taken = time.monotonic() - started
        rows = min(rows, int((seconds - taken) / taken * _FEWEST_ROWS / rounds))
    for _ in range(rounds if rows >= _FEWEST_ROWS else 0):
        _calibrate_round(network, rows, random)


def _calibrate_round(network: AnyOrderMLP, rows: int, random: torch.Generator) -> None:
    """Move the biases of each position in turn to match so many sampled rows."""
    decoder = Decoder(network)
    x = torch.zeros(rows, network.count, dtype=torch.int64, device=network.embed.device)
    for position in range(network.count):
        visible = list(range(position))
        logits = torch.cat([decoder.logits(position, part, visible, None) for part in x.split(_CHUNK)]).double()
        number, row = network.head(position)
        size = logits.shape[1]
        frequency = list(network.log_frequencies.buffers())[number][row, 0, :size].double().exp()
        change = torch.zeros_like(frequency)
        for _ in range(_STEPS):
            p = (logits + change).softmax(-1)
            change += _newton_step(p, frequency).where(frequency > 2 * math.exp(_UNSEEN), 0.0)
        network.head_biases[number][row, 0, :size] += change.to(network.head_biases[number].dtype)
        # Stratified, so that sampling noise is not corrected as an error of the network.
        strata = torch.randperm(len(x), generator=random)
        uniform = (strata + torch.rand(len(x), generator=random, dtype=torch.float64)) / len(x)
        x[:, position] = draw((logits + change).softmax(-1), uniform.to(x.device))


def _newton_step(p: Tensor, frequency: Tensor) -> Tensor:
    """Return Newton's step `(size,)` of the biases from the probabilities p `(B, size)` to the mean `frequency`."""
    mean = p.mean(0)
    # The Jacobian is singular where all biases move alike, hence + 1, and nearly so for a token that is certain or
    # impossible in most rows.
    jacobian = mean.diag() - p.t() @ p / len(p) + 1
    jacobian.diagonal().add_(1e-9)
    step = torch.linalg.solve(jacobian, frequency - mean)
    return step.clamp(-1, 1)


class Decoder:
    """The logits of one position after the other; the first layer is looked up, as it is linear in visible tokens.

    It holds the weights as they are when it is constructed.
    """

    def __init__(self, network: AnyOrderMLP) -> None:
        self.network = network
        embedded = network.embeddings() - network.hidden.repeat_interleave(network.sizes, 0)
        base = (network.hidden.sum(0) + network.query) * network.count**-0.5
        self.base = torch.baddbmm(network.first_bias, base, network.first).squeeze(1)
        self.embedded = embedded * network.count**-0.5
        self.biases = network.biases()
        # What each token adds to the first layer of each position, kept where memory allows.
        self._tables: dict[int, Tensor] = {}
        self._caches = len(embedded) * network.first_bias.numel() <= _TABLE_NUMBERS

    def _token_sums(self, slot: int) -> Tensor:
        """Return what each token adds to that slot's first layer, `(sum of sizes + 1, width)`; the last row is 0."""
        table = self._tables.get(slot)
        if table is None:
            table = F.pad(self.embedded @ self.network.first[slot], (0, 0, 0, 1))
            if self._caches:
                self._tables[slot] = table
        return table

    def logits(self, position: int, x: Tensor, visible: Sequence[int], known: Tensor | None) -> Tensor:
        """Return the logits `(B, size)` of a position given the tokens of x `(B, positions)` at `visible` positions.

        `known` bool `(B or 1, positions)` says in which rows each of these is visible; None: in all.
        """
        network = self.network
        slot = network.slot[position]
        hidden = self.base[slot].expand(len(x), -1)
        if visible:
            table = self._token_sums(slot)
            index = x[:, visible] + network.begins[visible]
            if known is not None:
                index = index.where(known[:, visible], len(table) - 1)
            hidden = F.embedding_bag(index, table, mode="sum").add_(self.base[slot])
        hidden = torch.addmm(network.second_bias[slot], F.silu(hidden), network.second[slot])
        hidden = F.silu(hidden, inplace=True)
        size, (number, row) = int(network.sizes[position]), network.head(position)
        return torch.addmm(self.biases[number][row, :, :size], hidden, network.heads[number][row, :, :size])


def _padded(size: int) -> int:
    """Return the power of two, from 16 on, that holds a vocabulary."""
    return max(16, 1 << (size - 1).bit_length())


def _groups(sizes: Sequence[int]) -> list[Group]:
    """Return the groups of the slots, from their sizes sorted by `_padded`."""
    groups: list[Group] = []
    for slot, size in enumerate(sizes):
        if groups and _padded(groups[-1].largest) == _padded(size):
            groups[-1] = groups[-1]._replace(stop=slot + 1, largest=max(groups[-1].largest, size))
        else:
            groups.append(Group(slot, slot + 1, size))
    return groups
