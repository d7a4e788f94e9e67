"""Symbols one by one, each given those before it: a causal transformer over any grid. Equations: README.md."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.errors import UserError
from ...core.model import (
    Batch,
    EmbeddingModel,
    GenerativeModel,
    LikelihoodModel,
    Loss,
    Partial,
    PartwiseModel,
    Phase,
    Request,
)
from ...core.noise import Noise
from ...core.space import Space, Tokens
from ...nn import nd
from ...nn.holes import random_known
from ...nn.places import Places
from ...nn.step import Step
from ...nn.transformer import Cache, Transformer, Turn
from . import options as settings
from . import search
from .calibration import Parts, calibrate
from .choice import Choice
from .columns import Columns
from .columns import calibrate as calibrate_columns
from .counts import Counts, Tally
from .rows import Rows
from .sequence import Sequences

_GRID_BASE, _SEQUENCE_BASE = 100.0, 10_000.0  # of the rotary frequencies
_AT_ONCE = 64  # windows of long sequences
_CALIBRATED = 2**14  # symbols that tell how far to trust counts
_ALONE = 0.3  # weight of the cost of what the network says by itself, where its guess is mixed with counts


class Told(NamedTuple):
    """What a slot knows besides the symbol before it: `(B, L, width)`, and how its query and key are turned."""

    vectors: Tensor
    turn: Turn | None  # None: as in raster order

    def at(self, slots: slice) -> Told:
        return Told(self.vectors[:, slots], self.turn and (self.turn[0][:, slots], self.turn[1][:, slots]))


class Autoregressive(GenerativeModel, LikelihoodModel, PartwiseModel, EmbeddingModel):
    """A causal transformer in raster order, with a class as context and exact likelihood."""

    Options = settings.Options
    Controls = settings.Controls
    accepts: ClassVar[tuple[type, ...]] = (Tokens,)
    exact = True
    fills = True
    validates = True
    begin_items = 2**14

    space: Tokens
    options: settings.Options
    allowed: Tensor

    def __init__(self, space: Tokens, conditions: Mapping[str, Space], options: settings.Options) -> None:
        super().__init__(space, conditions, options)
        self.columns: Columns | None = None
        if space.parts:
            self._init_columns(space, conditions, options)
            return
        width = options.width
        alphabets = torch.tensor([space.vocab] if isinstance(space.vocab, int) else space.vocab)
        self.vocab = int(alphabets.max())
        # The symbols of each position `(L, vocab)`, empty where all have one alphabet.
        allowed = torch.arange(self.vocab) < alphabets[:, None]
        self.register_buffer("allowed", allowed[:0] if allowed.all() else allowed, persistent=False)
        self.embed = nn.Embedding(self.vocab, width)
        if space.start is None:
            self.start = nn.Parameter(0.02 * torch.randn(width))
            self.places = Places(space.size, width)
        else:
            if options.fill:
                raise UserError(
                    "options.fill does not apply to sequences of any length; use masked_diffusion to fill in"
                )
            # Of tiny Shakespeare, in rows of 256 that overlap by half, .46 M parameters had a lower loss on rows kept
            # from training after five minutes than 1.6 M after ten; 2,200 steps of 8 rows than 1,270 of 32.
            self.symbols_a_parameter, self.many_steps = 4.0, 4000
        # Where the symbol before it stands, which is told where the order is not that of the raster.
        self.places_before = Places(space.size, width) if options.fill else None
        counted = options.counts if space.start is not None else 0
        self.counts = Counts(self.vocab, width, counted, space.start or 0) if counted else None
        self.conditioner = Conditioner(conditions, width, options.condition_drop)
        self.transformer = Transformer(
            size=space.size,
            width=width,
            layers=options.layers,
            dropout=options.dropout,
            causal=True,
            base=_GRID_BASE if space.start is None else _SEQUENCE_BASE,
        )
        self.head = nn.Linear(width, self.vocab)
        nd.zero(self.head)

    def _init_columns(self, space: Tokens, conditions: Mapping[str, Space], options: settings.Options) -> None:
        if conditions:
            raise UserError(
                f"rows are conditioned on any of their columns when they are drawn: fit without --condition "
                f"{next(iter(conditions))}, and sample with --condition NAME=VALUE"
            )
        self.columns = Columns(space, options.columns)
        self.weighs = self.one_size = True
        self.least_steps, self.most_passes, self.begin_items = 600, 20.0, 2**22
        self._rows: tuple[settings.Controls, int, Rows] | None = None

    def phases(self) -> tuple[Phase]:
        if self.columns is None:
            return (Phase(lr=4e-3),)
        # Of Adult in 1,000 steps: a classifier's AUC on the column income was .9241 at .004 without decay and with a
        # dropout of .3, .9287 so, and gradient boosting on the real rows' .927.
        # Averages of half-lives of a fifth, a twentieth and a fiftieth of training: Trend on ten times as many rows as
        # Adult has is .9924, .9938 and .9939, the loss on rows kept from training 1.3646, 1.3648 and 1.3654.
        decay = self.columns.options.weight_decay or 0.0
        return (Phase(lr=8e-3, optimizer="adamw", weight_decay=decay, hold=0.0),)

    @classmethod
    def settled(cls, options: settings.Options, items: int) -> settings.Options:
        return options.model_copy(update={"columns": options.columns.settled(items)})

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        """The first guess is each symbol's frequency; what follows on the last symbols of sequences is counted."""
        if self.columns is not None:
            self.columns.begin(batches)
            return
        often = torch.ones(self.vocab, dtype=torch.float64, device=self.device)

        def rows() -> Iterator[tuple[Tensor, Tensor]]:
            for batch in batches:
                often.add_(batch.x.flatten().bincount(minlength=self.vocab))
                if self.counts is not None:
                    yield batch.x, self._modelled(batch.x) & self._fresh(batch.x)

        counted = rows()
        if self.counts is not None:
            self.counts.count(counted)
        collections.deque(counted, maxlen=0)
        self.head.bias.copy_((often / often.sum()).log())

    def adapt(self, progress: float, passes: float, seen: Mapping[str, float]) -> None:
        """At the end, what served training only goes."""
        if progress >= 1 and self.columns is None and self.counts is not None:
            self.counts.forget_folds()

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """README, equation 2, per symbol; of rows of columns equation 6."""
        if self.columns is not None:
            return Loss(self.columns(batch.x).mean() / self.columns.count)
        if self.space.start is not None:
            nats, own = self._costs(batch.x, batch.condition)
            count = self._modelled(batch.x).sum().clamp(min=1)
            found = nats.sum() / count
            alone = _ALONE * own.sum() / count if self.training and self.counts is not None else 0.0
            return Loss(found + alone, {"nats": found.detach()})
        share = self.options.fill
        known = random_known(len(batch.x), self.space.size, share, batch.x.device).flatten(1) if share else None
        nats = self._nats(batch, known)
        return Loss(nats.sum(1).mean() / self.space.dimensions)

    def _order(self, known: Tensor) -> Tensor | None:
        """The cells as they are read, int64 `(B, L)`: the known ones first; None where it is always raster order."""
        return (~known).byte().argsort(dim=1, stable=True) if self.options.fill else None

    def _told(self, x: Tensor, order: Tensor | None, condition: Mapping[str, Tensor]) -> Told:
        """x `(B, L)` tells the batch."""
        places = self.places()
        given = self.conditioner(condition, x).vector.unsqueeze(1)
        if order is None or self.places_before is None:
            return Told(given + places, None)
        before = F.pad(order[:, :-1], (1, 0))
        vectors = given + F.embedding(order, places) + F.embedding(before, self.places_before())
        # A query stands where its symbol will, a key where the symbol is that it tells of.
        return Told(vectors, self.transformer.rotary.between(order, before))

    def _allow(self, logits: Tensor, allowed: Tensor) -> Tensor:
        """−∞ for symbols that have no place in those cells, which `allowed` is of."""
        return logits.masked_fill(~allowed, -torch.inf) if len(self.allowed) else logits

    def nats_of_sequences(self, x: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """−ln p of each symbol of rows `(B, n)` given those of its item before it; 0 for what is not modelled."""
        return self._costs(x, condition)[0]

    def _costs(self, x: Tensor, condition: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """−ln p of each symbol of rows `(B, n)`, and by what the network says without counts."""
        modelled = self._modelled(x)
        hidden, own = self._network(x, condition)
        nats = own if self.counts is None else self.counts.nats(hidden, own, self._tally(self.counts, x))
        return F.pad(nats, (1, 0)) * modelled, F.pad(own, (1, 0)) * modelled

    def _network(self, x: Tensor, condition: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of each symbol of rows `(B, n)` but the first, what the network is at before it, and its −ln p."""
        read, told = x[:, :-1], self.conditioner(condition, x).vector.unsqueeze(1)
        begins = read.eq(self.space.start or 0)
        apart = None
        if bool(begins[:, 1:].any()):
            item = begins.cumsum(1)
            apart = (item[:, :, None] == item[:, None, :]).unsqueeze(1)
        hidden = self.transformer(self.embed(read) + told, mask=apart)
        own = F.cross_entropy(self.head(hidden).float().flatten(0, 1), x[:, 1:].flatten(), reduction="none")
        return hidden, own.reshape(read.shape)

    def _tally(self, counts: Counts, x: Tensor) -> Tally:
        """What is counted of the same symbols; of rows that are trained on, without what they add to it themselves."""
        return counts.tally(x[:, :-1], x[:, 1:], counts.columns(x, without_own=self.training))

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch]) -> None:
        """README, equation 3: what the network says of how far to trust counts is fitted to rows kept from training."""
        if self.columns is not None:
            calibrate_columns(self.columns)
            return
        if self.counts is None:
            return
        found: list[Parts] = []
        rows: list[Tensor] = []
        for batch in batches:
            inside = (self._modelled(batch.x) & self._fresh(batch.x))[:, 1:]
            parts = Parts(*self._network(batch.x, batch.condition), self._tally(self.counts, batch.x))
            found.append(parts.select(inside))
            rows.append(len(rows) + inside.nonzero()[:, 0] / len(inside))
            if sum(len(one.own) for one in found) > _CALIBRATED:
                break
        row = torch.cat(rows)
        first = row < row[len(row) // 2 :][:1]
        if bool(first.any()):
            calibrate(self.counts, Parts.joined(found), first)

    def _modelled(self, x: Tensor) -> Tensor:
        """Bool `(B, n)`: which symbols of rows are modelled: no start, nothing after an end, and no row's first."""
        ended = x[:, :-1] == (-1 if self.space.end is None else self.space.end)
        return F.pad((x[:, 1:] != self.space.start) & ~ended, (1, 0))

    def _fresh(self, x: Tensor) -> Tensor:
        """Bool `(B, n)`: all but what a row that begins in the middle of an item shares with the one before it."""
        context = self.space.size[0]
        late = torch.arange(x.shape[1], device=x.device) >= context - context // 2
        return (x[:, :1] == self.space.start) | late

    def _nats(self, batch: Batch, known: Tensor | None) -> Tensor:
        """−ln p of each symbol given those before it, `(B, L)`; 0 for the known ones and for those after the end."""
        cells = batch.x.flatten(1)
        known = torch.zeros_like(cells, dtype=torch.bool) if known is None else known
        order = self._order(known)
        x = _along(cells, order)
        before = torch.cat((self.start.expand(len(x), 1, -1), self.embed(x[:, :-1])), dim=1)
        told = self._told(x, order, batch.condition)
        hidden = self.transformer(before + told.vectors, turn=told.turn)
        allowed = self.allowed if order is None or not len(self.allowed) else self.allowed[order]
        logits = self._allow(self.head(hidden).float(), allowed)
        nats = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").reshape(x.shape)
        nothing = known
        if self.space.end is not None:
            ends = (cells == self.space.end).long()
            nothing = nothing | (ends.cumsum(1) > ends)
        return nats.masked_fill(_along(nothing, order), 0.0)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """README, equation 1: exact, of the symbols; of sequences longer than the context by windows.

        Of rows of columns, of what is modelled of them, in the columns' own order.
        """
        if self.columns is not None:
            return -self.columns.in_order(batch.x).sum(0)
        if self.space.start is None:
            return -self._nats(batch, None).sum(1)
        context, half = self.space.size[0], self.space.size[0] // 2
        found = torch.zeros(len(batch.x), device=batch.x.device)
        for begin in range(0, max(1, batch.x.shape[1] - context + half), half):
            window = batch.x[:, begin : begin + context]
            fresh = slice(context - half if begin else 0, None)
            rows = self._modelled(window)[:, fresh].any(1).nonzero().flatten()
            for part in rows.split(_AT_ONCE):
                condition = {name: value[part] for name, value in batch.condition.items()}
                found[part] -= self.nats_of_sequences(window[part], condition)[:, fresh].sum(1)
        return found

    @torch.no_grad()
    def embeddings(self, batch: Batch) -> Tensor:
        """Of sequences the mean over symbols of what the network is at before each, no longer than the context."""
        if self.columns is not None or self.space.start is None:
            raise UserError("of rows and pictures this family makes no embeddings, only of texts")
        x = batch.x[:, : self.space.size[0]]
        inside = self._modelled(x)[:, 1:, None].float()
        hidden = torch.cat([self._network(part, {})[0].float() for part in x.split(_AT_ONCE)])
        return (hidden * inside).sum(1) / inside.sum(1).clamp(min=1)

    @torch.no_grad()
    def surprise(self, x: Tensor) -> Tensor:
        """Of rows of columns, −ln p of each part given all others, `(B, parts)`."""
        if self.columns is None:
            raise UserError("only the columns of rows are told apart so")
        nats = self.columns.given_others(x).t()
        part = torch.tensor(self.columns.part, device=x.device)
        return nats.new_zeros(len(x), len(self.space.parts)).index_add_(1, part, nats)

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        # Single precision: in a half one, a cell's rounding depends on the batch, and now and then another symbol.
        with torch.autocast(self.device.type, enabled=False):
            if self.columns is not None:
                yield from self._draw_rows(self.columns, request, controls)
            elif self.space.start is None:
                yield from self._generate(request, controls)
            else:
                yield from self._sequences(request, controls)

    def _draw_rows(self, columns: Columns, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        # What rows are drawn by is kept from batch to batch, as long as neither the controls nor the weights change.
        version = sum(parameter._version for parameter in columns.parameters())
        if self._rows is None or self._rows[0] is not controls or self._rows[1] != version:
            self._rows = controls, version, Rows(columns, controls)
        alphabets = self.space.vocab
        assert isinstance(alphabets, tuple)
        even = {position: alphabets[position] for position in range(columns.count, len(alphabets))}
        yield from self._rows[2].draw(request, len(alphabets), even)

    def _sequences(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        if controls.beams > 1 and controls.best_of > 1:
            raise UserError("a beam search draws nothing, of which the best could be taken; give beams or best_of")
        if controls.beams > 1:
            yield search.beam_search(self, request, controls)
        elif controls.best_of > 1:
            yield search.best_of(self, request, controls)
        else:
            yield from Sequences(self, request, controls).run()

    def _generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        if controls.beams > 1 or controls.best_of > 1:
            raise UserError("beams and best_of apply to sequences of any length, such as texts; drop them")
        space, count, length = self.space, len(request), self.space.dimensions
        x = torch.zeros(count, length, dtype=torch.int64, device=self.device)
        known = torch.zeros_like(x, dtype=torch.bool)
        if request.given is not None:
            given = request.given.x.to(x).reshape(count, length)
            known = request.given.known.to(x.device).expand(count, *space.size).reshape(count, length).clone()
            x = torch.where(known, given, x)
        if not self.options.fill and bool((known[:, 1:] & ~known[:, :-1]).any()):
            raise UserError(
                "this model was trained to go on after a beginning, and symbols are given after a gap; "
                "fit with --options.fill 0.5 to fill in between"
            )
        # From here on, slots in the order in which they are read; `cells` are where they stand.
        order = self._order(known)
        cells = torch.arange(length, device=x.device).expand(count, -1) if order is None else order
        uniform = _along(request.noise.uniform("symbols", (length,)).to(x.device), order)
        x, known = _along(x, order), _along(known, order)
        allowed = self.allowed[cells] if len(self.allowed) else self.allowed
        # Symbols at later cells than this one count for nothing.
        end = torch.where(known & (x == (-1 if space.end is None else space.end)), cells, length).amin(1)
        guides = controls.guidance != 1 and bool(request.condition)
        told = self._told_twice(x, order, request, guides)
        cache = self.transformer.cache(len(told.vectors), told.vectors)
        step = Step(self.transformer, controls.weights)
        first = int(known.long().cumprod(1).sum(1).min())  # what all samples begin with is read at once
        settled = known.clone()
        begun = (torch.arange(length, device=x.device) < first).expand(count, -1)
        choice = Choice(controls, request.rules, history=x, counted=begun, vocab=self.vocab, start=None, end=space.end)
        for at in range(first, length):
            logits = self._next(x, at, told, cache, step)
            if guides:  # those with the condition and those without in turn
                logits = logits.unflatten(0, (2, count)).transpose(0, 1).flatten(0, 1)
            drawn = choice(
                logits,
                uniform[:, at],
                settled[:, :at].sum(1),
                guides=guides,
                allowed=allowed[:, at] if len(allowed) else None,
            )
            if space.end is not None:
                drawn = torch.where(cells[:, at] > end, space.end, drawn)
                end = torch.where(drawn == space.end, end.minimum(cells[:, at]), end)
            x[:, at] = torch.where(known[:, at], x[:, at], drawn)
            choice.advance(x[:, at])
            settled[:, at] = True
            if request.drafts and at + 1 < length and (at + 1) % space.size[-1] == 0:
                yield Partial(*(_back(slots, order).reshape(count, *space.size) for slots in (x, settled)))
        x = _back(x, order).reshape(count, *space.size)
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))

    def _told_twice(self, x: Tensor, order: Tensor | None, request: Request, guides: bool) -> Told:
        """What slots are told under the condition, and below, where it guides, without."""
        told = self._told(x, order, dict(request.condition))
        if not guides:
            return told
        vectors = torch.cat((told.vectors, self._told(x, order, {}).vectors))
        return Told(vectors, told.turn and (torch.cat([told.turn[0]] * 2), torch.cat([told.turn[1]] * 2)))

    def _next(self, x: Tensor, at: int, told: Told, cache: Cache, step: Step) -> Tensor:
        """Logits of the slot `at`, `(B or 2 B, vocab)`; the cache holds the slots before it, or none yet."""
        since = cache.filled
        before = self.embed(x[:, since - 1 : at]) if since else self._beginning(x, at)
        if len(told.vectors) > len(x):
            before = torch.cat((before, before))
        told = told.at(slice(since, at + 1))
        read = before + told.vectors
        hidden = step(read[:, 0], cache, told.turn) if since else self.transformer(read, cache, told.turn)[:, -1]
        return self.head(hidden).float()

    def _beginning(self, x: Tensor, at: int) -> Tensor:
        return torch.cat((self.start.expand(len(x), 1, -1), self.embed(x[:, :at])), dim=1)


def _along(cells: Tensor, order: Tensor | None) -> Tensor:
    """Values of cells `(B, L)` in the order in which they are read."""
    return cells if order is None else cells.gather(1, order)


def _back(slots: Tensor, order: Tensor | None) -> Tensor:
    """The reverse of `_along`."""
    return slots if order is None else torch.empty_like(slots).scatter(1, order, slots)
