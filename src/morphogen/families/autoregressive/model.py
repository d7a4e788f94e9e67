"""Symbols one by one, each given those before it: a causal transformer over any grid. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, LikelihoodModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Space, Tokens
from ...nn import nd
from ...nn.holes import random_known
from ...nn.transformer import Cache, Transformer
from ...sampling.logits import draw, guided, probabilities
from . import options as settings


class Hints(nn.Module):
    """What a cell may know of given cells that lie after it: a transformer that sees all of them at once."""

    def __init__(self, size: tuple[int, ...], width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.zeros(width))
        self.transformer = Transformer(size=size, width=width, layers=layers, dropout=dropout, causal=False)
        self.out = nd.zero(nn.Linear(width, width, bias=False))

    def forward(self, embedded: Tensor, known: Tensor, position: Tensor) -> Tensor:
        """Embedded symbols `(B, L, width)` of which `known` `(B, L)` count, to what each cell is told."""
        seen = torch.where(known.unsqueeze(-1), embedded, self.null.to(embedded.dtype))
        return self.out(self.transformer(seen + position))


class Autoregressive(GenerativeModel, LikelihoodModel):
    """A causal transformer in raster order, with a class as context and exact likelihood."""

    Options = settings.Options
    Controls = settings.Controls
    accepts: ClassVar[tuple[type, ...]] = (Tokens,)
    exact = True
    fills = True
    validates = True

    space: Tokens
    options: settings.Options
    allowed: Tensor

    def __init__(self, space: Tokens, conditions: Mapping[str, Space], options: settings.Options) -> None:
        super().__init__(space, conditions, options)
        width = options.width
        alphabets = torch.tensor([space.vocab] if isinstance(space.vocab, int) else space.vocab)
        self.vocab = int(alphabets.max())
        # The symbols of each position `(L, vocab)`, empty where all have one alphabet.
        allowed = torch.arange(self.vocab) < alphabets[:, None]
        self.register_buffer("allowed", allowed[:0] if allowed.all() else allowed, persistent=False)
        self.embed = nn.Embedding(self.vocab, width)
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.position = nn.ParameterList(
            0.02 * torch.randn(length, *[1] * later, width)
            for length, later in zip(space.size, reversed(range(len(space.size))), strict=True)
        )
        self.conditioner = Conditioner(conditions, width, options.condition_drop)
        self.transformer = Transformer(
            size=space.size, width=width, layers=options.layers, dropout=options.dropout, causal=True
        )
        depth = max(1, options.layers // 2)
        self.hints = Hints(space.size, width, depth, options.dropout) if options.fill else None
        self.head = nn.Linear(width, self.vocab)
        nd.zero(self.head)

    def phases(self) -> tuple[Phase]:
        return (Phase(lr=4e-3),)

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        """The first guess is each symbol's frequency."""
        counts = torch.ones(self.vocab, dtype=torch.float64, device=self.device)
        for batch in batches:
            counts += batch.x.flatten().bincount(minlength=self.vocab)
        self.head.bias.copy_((counts / counts.sum()).log())

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """README, equation 2, per symbol."""
        share = self.options.fill
        known = random_known(len(batch.x), self.space.size, share, batch.x.device).flatten(1) if share else None
        nats = self._nats(batch, known)
        return Loss(nats.sum(1).mean() / self.space.dimensions)

    def _positions(self) -> Tensor:
        """One vector a cell, `(L, width)`: the sum of one for each coordinate."""
        total = self.position[0]
        for table in self.position[1:]:
            total = total + table
        return total.expand(*self.space.size, -1).reshape(-1, self.options.width)

    def _allow(self, logits: Tensor, cells: slice) -> Tensor:
        """−∞ for symbols that have no place in those cells."""
        if not len(self.allowed):
            return logits
        return logits.masked_fill(~self.allowed[cells], -torch.inf)

    def _surroundings(self, x: Tensor, known: Tensor | None, condition: Mapping[str, Tensor]) -> Tensor:
        """What each cell is told besides the symbol before it, `(B, L, width)`; x and known `(B, L)`."""
        position = self._positions()
        told = position + self.conditioner(condition, x).vector.unsqueeze(1)
        if self.hints is not None:
            hidden = torch.zeros_like(x, dtype=torch.bool) if known is None else known
            told = told + self.hints(self.embed(x), hidden, position)
        return told

    def _nats(self, batch: Batch, known: Tensor | None) -> Tensor:
        """−ln p of each symbol given those before it, `(B, L)`; 0 for the known ones and for those after the end."""
        x = batch.x.flatten(1)
        before = torch.cat((self.start.expand(len(x), 1, -1), self.embed(x[:, :-1])), dim=1)
        hidden = self.transformer(before + self._surroundings(x, known, batch.condition))
        logits = self._allow(self.head(hidden).float(), slice(None))
        nats = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").reshape(x.shape)
        if self.space.end is not None:
            ended = (x == self.space.end).cumsum(1) - (x == self.space.end).long()
            nats = nats.masked_fill(ended > 0, 0.0)
        return nats if known is None else nats.masked_fill(known, 0.0)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """README, equation 1: exact, of the symbols."""
        return -self._nats(batch, None).sum(1)

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        # Single precision: in a half one, a cell's rounding depends on the batch, and now and then another symbol.
        with torch.autocast(self.device.type, enabled=False):
            yield from self._generate(request, controls)

    def _generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        space, count, length = self.space, len(request), self.space.dimensions
        x = torch.zeros(count, length, dtype=torch.int64, device=self.device)
        known = torch.zeros_like(x, dtype=torch.bool)
        if request.given is not None:
            given = request.given.x.to(x).reshape(count, length)
            known = request.given.known.to(x.device).expand(count, *space.size).reshape(count, length).clone()
            x = torch.where(known, given, x)
        guides = controls.guidance != 1 and bool(request.condition)
        told = self._told(x, known, request, guides)
        cache = self.transformer.cache(len(told), told)
        uniform = request.noise.uniform("symbols", (length,)).to(x.device)
        first = int(known.long().cumprod(1).sum(1).min())  # cells that all samples begin with are read at once
        ended = (x[:, :first] == (-1 if space.end is None else space.end)).any(1)
        settled = known.clone()
        for at in range(first, length):
            logits = self._next(x, at, told, cache)
            if guides:
                conditional, unconditional = logits.chunk(2)
                logits = guided(conditional, unconditional, controls.guidance)
            chances = probabilities(
                self._allow(logits, slice(at, at + 1)),
                temperature=controls.temperature,
                top_k=controls.top_k,
                top_p=controls.top_p,
                min_p=controls.min_p,
                typical_p=controls.typical_p,
            )
            drawn = draw(chances, uniform[:, at])
            if space.end is not None:
                ended |= (x[:, at - 1] == space.end) if at else ended
                drawn = torch.where(ended, space.end, drawn)
            x[:, at] = torch.where(known[:, at], x[:, at], drawn)
            settled[:, at] = True
            if request.drafts and at + 1 < length and (at + 1) % space.size[-1] == 0:
                yield Partial(x.reshape(count, *space.size), settled.reshape(count, *space.size))
        yield Partial(x.reshape(count, *space.size), torch.ones_like(x, dtype=torch.bool).reshape(count, *space.size))

    def _told(self, x: Tensor, known: Tensor, request: Request, guides: bool) -> Tensor:
        """The surroundings under the condition, and below them, where it guides, those without."""
        # Given symbols that only follow on unknown ones cannot be foreseen without hints.
        if self.hints is None and bool((known[:, 1:] & ~known[:, :-1]).any()):
            raise UserError(
                "this model was trained to go on after a beginning, and symbols are given after a gap; "
                "fit with --options.fill 0.5 to fill in between"
            )
        told = self._surroundings(x, known, dict(request.condition))
        return torch.cat((told, self._surroundings(x, known, {}))) if guides else told

    def _next(self, x: Tensor, at: int, told: Tensor, cache: Cache) -> Tensor:
        """Logits of the cell `at`, `(B or 2 B, vocab)`; the cache holds the cells before it, or none yet."""
        since = cache.filled
        before = self.embed(x[:, since - 1 : at]) if since else self._beginning(x, at)
        if len(told) > len(x):
            before = torch.cat((before, before))
        hidden = self.transformer(before + told[:, since : at + 1], cache)
        return self.head(hidden[:, -1]).float()

    def _beginning(self, x: Tensor, at: int) -> Tensor:
        return torch.cat((self.start.expand(len(x), 1, -1), self.embed(x[:, :at])), dim=1)
