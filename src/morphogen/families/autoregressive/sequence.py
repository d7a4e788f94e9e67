"""Drawing sequences of any length: a row reads its own beginning, goes on past the context, and leaves at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.model import Partial, Request
from ...nn.products import product
from ...nn.step import Step
from . import options as settings
from .choice import Choice

if TYPE_CHECKING:
    from .model import Autoregressive


class Sequences:
    """The rows of one request under way.

    The context slides by halves: where it is full, a row reads its last half anew and goes on, as likelihoods of long
    items are taken, too. So what a row is told depends on its own length alone, and not on the rows beside it.
    """

    def __init__(self, model: Autoregressive, request: Request, controls: settings.Controls, number: int = 0) -> None:
        """`number`: which of several draws of each sample it is."""
        self.model, self.request, self.controls = model, request, controls
        count, self.context = len(request), model.space.size[0]
        begun = request.given
        if begun is None:  # with nothing but the start
            x = torch.full((count, 1), int(model.space.start or 0))
            begun = Partial(x, torch.ones_like(x, dtype=torch.bool))
        known = begun.known.expand(begun.x.shape).to(model.device)
        lengths = known.long().sum(1)
        if not bool((known.long().cumprod(1).sum(1) == lengths).all()) or not bool(lengths.all()):
            raise UserError("symbols are given after a gap, and a sequence is only gone on with; use masked_diffusion")
        self.end = -1 if model.space.end is None else model.space.end
        self.most = controls.max_length or self.context
        wide = int(lengths.max()) + self.most
        self.x = torch.full((count, wide), max(0, self.end), device=model.device)
        given = min(wide, known.shape[1])
        self.x[:, :given] = self.x[:, :given].where(~known[:, :given], begun.x.to(self.x)[:, :given])
        # Of each row under way: which sample it is of, its length, what it begins with, where its window begins.
        self.samples = torch.arange(count, device=model.device)
        self.lengths: list[int] = lengths.tolist()
        self.began = list(self.lengths)
        self.windows = [self._window(length) for length in self.lengths]
        self.length = lengths.clone()  # the same, to look up by
        self.given, self.settled = lengths, lengths.clone()  # of each sample
        self.uniform = request.noise.uniform("symbols", (self.most,), at=number).to(model.device)
        # Of each sample: −ln p of what was drawn, by the model alone, where it is asked for.
        self.nats = torch.zeros(count, device=model.device)
        self.guides = controls.guidance != 1 and bool(request.condition)
        told = model.conditioner(dict(request.condition), self.x).vector.unsqueeze(1)
        unconditional = [model.conditioner({}, self.x).vector.unsqueeze(1)] if self.guides else []
        self.told = torch.cat((told, *unconditional), dim=1)  # with the condition and, where it guides, without
        self.copies = self.told.shape[1]
        self.cache = model.transformer.rows(count * self.copies, self.told)
        self.step = Step(model.transformer, controls.weights)
        self.head = product(model.head.weight, controls.weights)
        self.choice = Choice(
            controls,
            request.rules,
            history=self.x,
            counted=torch.arange(wide, device=model.device) < lengths[:, None],
            vocab=model.vocab,
            start=model.space.start,
            end=model.space.end,
        )

    def run(self) -> Iterator[Partial]:
        """Drafts, one for each symbol, where they are wanted; the last is the sample."""
        logits = self.read(list(range(len(self.lengths))))
        while True:
            self._draw(logits)
            if not self.lengths:
                break
            if self.request.drafts:
                yield Partial(self.x, torch.arange(self.x.shape[1], device=self.x.device) < self._settled()[:, None])
            logits = self.next_logits()
        yield Partial(self.x, torch.ones_like(self.x, dtype=torch.bool))

    @property
    def drawn(self) -> Tensor:
        """How many symbols of each sample were drawn, `(B,)`."""
        return self._settled() - self.given

    def _settled(self) -> Tensor:
        """How many symbols of each sample there are, `(B,)`."""
        self.settled[self.samples] = self.length
        return self.settled

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """ln p of each symbol of the rows under way, `(B, vocab)`, under the controls but those of draws."""
        before = self.length - self.given[self.samples]
        return self.choice.steered(logits, before, guides=self.guides).log_softmax(dim=-1)

    def follow(self, rows: Tensor, symbols: Tensor) -> None:
        """Rows under way become those `rows` `(n,)`, one of them perhaps twice, each with one symbol more."""
        chosen = rows.tolist()
        self.x[: len(chosen)] = self.x[rows]
        self.cache.select(self._copies(chosen))
        self.choice.select(chosen)
        self.choice.advance(symbols)
        self.lengths, self.began, self.windows = (
            [of_rows[row] for row in chosen] for of_rows in (self.lengths, self.began, self.windows)
        )
        self.samples = torch.arange(len(chosen), device=self.x.device)
        self.length = self.length[rows]
        self.x[self.samples, self.length] = symbols
        self.length = self.length + 1
        self.lengths = [length + 1 for length in self.lengths]

    def _window(self, length: int) -> int:
        """Where what a row of that length is told begins."""
        half = self.context // 2
        return max(0, (length - self.context) // half + 1) * half

    def _draw(self, logits: Tensor) -> None:
        """One more symbol for each row under way; rows that are at their end leave."""
        before = self.length - self.given[self.samples]
        drawn = self.choice(logits, self.uniform[self.samples, before], before, guides=self.guides)
        self.choice.advance(drawn)
        if self.controls.best_of > 1:
            conditional = logits[:: self.copies].log_softmax(dim=-1)
            self.nats[self.samples] -= conditional.gather(1, drawn[:, None]).squeeze(1)
        self.x[self.samples, self.length] = drawn
        self.length = self.length + 1
        self.lengths = [length + 1 for length in self.lengths]
        symbols = drawn.tolist()
        for row in reversed(range(len(symbols))):
            if symbols[row] == self.end or self.lengths[row] - self.began[row] == self.most:
                self._leave(row)

    def _leave(self, row: int) -> None:
        for copy in reversed(range(self.copies)):
            self.cache.leave(row * self.copies + copy)
        self.choice.leave(row)
        for of_rows in (self.lengths, self.began, self.windows):
            of_rows[row] = of_rows[-1]
            of_rows.pop()
        self.settled[self.samples[row]] = self.length[row]
        self.samples, self.length = (_without(of_rows, row) for of_rows in (self.samples, self.length))

    def next_logits(self) -> Tensor:
        """Logits of what comes next in each row under way."""
        full = [row for row, length in enumerate(self.lengths) if length - self.windows[row] == self.context]
        for row in full:
            self.windows[row] = self._window(self.lengths[row])
        if len(full) == len(self.lengths):
            return self.read(full)
        logits = self._step()
        if full:
            logits[self._copies(full)] = self.read(full)
        return logits

    def _copies(self, rows: list[int]) -> list[int]:
        """Their rows of the cache."""
        return [row * self.copies + copy for row in rows for copy in range(self.copies)]

    def _step(self) -> Tensor:
        """One symbol more is read by all rows."""
        last = self.x[self.samples, self.length - 1]
        embedded = self.model.embed(last).unsqueeze(1) + self.told[self.samples]
        hidden = self.step(embedded.flatten(0, 1), self.cache)
        return self._logits(hidden, list(range(len(self.lengths))))

    def read(self, rows: list[int]) -> Tensor:
        """The windows of these rows are read from their first symbol on."""
        device = self.x.device
        counts = [self.lengths[row] - self.windows[row] for row in rows]
        samples, begins = self.samples[rows], torch.tensor([self.windows[row] for row in rows], device=device)
        cells = begins[:, None] + torch.arange(max(counts), device=device)
        window = self.x[samples[:, None], cells.clamp(max=self.x.shape[1] - 1)]
        embedded = (self.model.embed(window).unsqueeze(1) + self.told[samples].unsqueeze(2)).flatten(0, 1)
        counts = [count for count in counts for _ in range(self.copies)]
        self.cache.begin(self._copies(rows), counts)
        hidden = self.model.transformer(embedded, self.cache)
        ends = torch.tensor(counts, device=device) - 1
        return self._logits(hidden[torch.arange(len(hidden), device=device), ends], rows)

    def _logits(self, hidden: Tensor, rows: list[int]) -> Tensor:
        """Of what follows in these rows, of which the network says `hidden`, for all their copies."""
        own, counts = self.head(hidden).float() + self.model.head.bias, self.model.counts
        if counts is None:
            return own
        device = hidden.device
        told = [self.lengths[row] - self.windows[row] for row in rows]
        last = (self.length[rows][:, None] - torch.arange(max(*told, 2), 0, -1, device=device)).clamp(min=0)
        window = self.x[self.samples[rows][:, None], last].repeat_interleave(self.copies, 0)
        length = torch.tensor(told, device=device).repeat_interleave(self.copies)
        return counts.logits(hidden, own, counts.tallies(window, length))


def _without(of_rows: Tensor, row: int) -> Tensor:
    """The last one in the place of that row."""
    kept = of_rows[:-1].clone()
    if row < len(kept):
        kept[row] = of_rows[-1]
    return kept
