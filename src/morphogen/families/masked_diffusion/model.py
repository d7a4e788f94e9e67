"""Symbols behind masks, all predicted from those that are not: masked diffusion over any grid. Equations: README.md."""

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
from ...nn.places import Places
from ...nn.transformer import Transformer
from . import filling
from . import options as settings
from .lengths import Lengths
from .masks import apart, chosen, per_item
from .neighbours import Neighbours

_GRID_BASE, _SEQUENCE_BASE = 100.0, 10_000.0  # of the rotary frequencies
_AT_ONCE = 64  # windows of long sequences
_STRATA = 16  # shares of masked cells at which the bound looks
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly, however many there are


class MaskedDiffusion(GenerativeModel, LikelihoodModel):
    """A transformer that sees all cells at once, with a class as context and a bound of the likelihood."""

    Options = settings.Options
    Controls = settings.Controls
    accepts: ClassVar[tuple[type, ...]] = (Tokens,)
    exact = False
    fills = True
    validates = True

    space: Tokens
    options: settings.Options
    allowed: Tensor

    def __init__(self, space: Tokens, conditions: Mapping[str, Space], options: settings.Options) -> None:
        if space.parts:
            raise UserError("the family 'masked_diffusion' does not model rows of columns; use autoregressive")
        super().__init__(space, conditions, options)
        width = options.width
        alphabets = torch.tensor([space.vocab] if isinstance(space.vocab, int) else space.vocab)
        self.vocab = int(alphabets.max())
        # The symbols of each position `(L or 1, vocab)`, empty where all may stand everywhere.
        allowed = torch.arange(self.vocab) < alphabets[:, None]
        if space.start is not None:  # where a sequence starts and ends is told
            allowed[:, [symbol for symbol in (space.start, space.end) if symbol is not None]] = False
        self.register_buffer("allowed", allowed[:0] if allowed.all() else allowed, persistent=False)
        self.embed = nn.Embedding(self.vocab + 1, width)  # the last one is the mask
        self.places = Places(space.size, width) if space.start is None else None
        self.lengths = Lengths(space.size[0]) if space.start is not None else None
        self.neighbours = Neighbours(width) if space.start is not None else None
        self.conditioner = Conditioner(conditions, width, options.condition_drop)
        self.transformer = Transformer(
            size=space.size,
            width=width,
            layers=options.layers,
            dropout=options.dropout,
            causal=False,
            base=_GRID_BASE if space.start is None else _SEQUENCE_BASE,
        )
        self.head = nn.Linear(width, self.vocab)  # a mask is never predicted
        nd.zero(self.head)

    def phases(self) -> tuple[Phase]:
        return (Phase(lr=4e-3),)

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        """The first guess is each symbol's frequency; lengths are counted."""
        context = self.space.size[0]
        counts = torch.ones(self.vocab, dtype=torch.float64, device=self.device)
        lengths = torch.zeros(context + 1, dtype=torch.int64, device=self.device)
        longer = middle = 0
        for batch in batches:
            x = self.ended(batch.x.flatten(1))
            item, modelled = self.parts(x)
            counts += x[modelled].bincount(minlength=self.vocab)
            if self.lengths is not None:
                size, starts, ends = (
                    per_item(what, item)
                    for what in (modelled, x.eq(self.space.start or 0), x.eq(self._end) & (item >= 0))
                )
                lengths += size[(starts > 0) & (ends > 0)].clamp(max=context).bincount(minlength=context + 1)
                longer += int(((starts > 0) & (ends == 0)).sum())
                middle += int(((starts == 0) & (size > 0)).sum())
        self.head.bias.copy_((counts / counts.sum()).log())
        if self.lengths is not None:
            within = self.lengths.within
            found = F.pad(lengths[:within], (0, 1), value=longer + int(lengths[within:].sum()))
            # Rows that begin in the middle of an item go on by half a context each.
            self.lengths.set(found, (context // 2 * middle + 1) / (longer + 1))

    @property
    def _end(self) -> int:
        return -1 if self.space.end is None else self.space.end

    def ended(self, x: Tensor) -> Tensor:
        """Rows `(B, L)` of a grid, with nothing but ends after the first one; of sequences as they are."""
        if self.space.end is None or self.space.start is not None:
            return x
        ends = (x == self.space.end).long()
        return x.masked_fill(ends.cumsum(1) > ends, self.space.end)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows `(B, n)`: which item each cell is of, int64, from 0 on, -1 after an end; and which are modelled."""
        if self.space.start is None:
            return torch.zeros_like(x), torch.ones_like(x, dtype=torch.bool)
        place = torch.arange(x.shape[1], device=x.device).expand_as(x)
        begins, ends = x == self.space.start, x == self._end
        begun = place.where(begins, -1).cummax(1).values
        ended = F.pad(place.where(ends, -1).cummax(1).values[:, :-1], (1, 0), value=-1)
        item = begins.cumsum(1).masked_fill(ended > begun, -1)
        return item, (item >= 0) & ~begins & ~ends

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """README, equation 2, per symbol."""
        x = self.ended(batch.x.flatten(1))
        item, modelled = self.parts(x)
        items = item.amax(1, keepdim=True) + 1
        number = item + items.cumsum(0) - items
        # Each item of the batch has a share of its own, and together they are spread evenly.
        t = (torch.rand((), device=x.device) + _GOLDEN * number.double()).frac()
        masked, weight = chosen(item, modelled, t, torch.rand(x.shape, device=x.device))
        told = self.conditioner(batch.condition, x).vector
        nats = self._nats(x, masked, told, item) * weight
        return Loss(nats.sum() / modelled.sum().clamp(min=1))

    def _nats(self, x: Tensor, masked: Tensor, told: Tensor, item: Tensor | None) -> Tensor:
        """−ln p of each masked symbol given those that are not, `(B, n)`; 0 for the others."""
        logits = self.judge(self.read(x, masked, told, item))
        wanted = x.masked_fill(~masked, -1).flatten()
        return F.cross_entropy(logits.flatten(0, 1), wanted, reduction="none", ignore_index=-1).reshape(x.shape)

    def read(self, x: Tensor, masked: Tensor, told: Tensor, item: Tensor | None) -> Tensor:
        """What the network makes of each cell, `(B, n, width)`.

        x `(B, n)`, of which the `masked` cells are not read; told `(B, width)`; cells see those of their own `item`
        `(B, n)` alone (None: all are of one).
        """
        symbols = self.embed(x.masked_fill(masked, self.vocab))
        cells = symbols + told.unsqueeze(1)
        if self.places is not None:
            cells = cells + self.places()
        seen = None if item is None else apart(item)
        if self.neighbours is not None:
            cells = cells + self.neighbours(symbols, None if seen is None else item)
        return self.transformer(cells, mask=seen)

    def judge(self, hidden: Tensor) -> Tensor:
        """Logits of all cells `(B, n, vocab)`, −∞ for symbols that have no place there."""
        return self.allow(self.head(hidden).float(), self.allowed)

    def allow(self, logits: Tensor, allowed: Tensor) -> Tensor:
        """−∞ for symbols that have no place in those cells, which `allowed` is of."""
        return logits.masked_fill(~allowed, -torch.inf) if len(self.allowed) else logits

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """README, equations 3 to 5: a lower bound, of the symbols; of sequences longer than the context by windows."""
        x = batch.x.flatten(1)
        told = self.conditioner(batch.condition, x).vector
        if self.lengths is None:
            return -self._bound(self.ended(x), torch.ones_like(x, dtype=torch.bool), None, told, noise, 0)
        item, modelled = self.parts(x)
        own = item == item[:, :1]
        stop, ended = own.sum(1), (own & (x == self._end)).any(1)
        unread = modelled & own & (torch.arange(x.shape[1], device=x.device) > 0)
        found = self.lengths.log_probability(unread.sum(1), ended) if self.space.end is not None else stop * 0.0
        # All windows of all items, for few rows at once leave much of a machine idle.
        parts: list[tuple[Tensor, ...]] = []
        while bool(unread.any()):
            rows = unread.any(1).nonzero().flatten()
            cells, inside = filling.windows(unread[rows], stop[rows], self.space.size[0])
            fresh = unread[rows].gather(1, cells) & inside
            unread[rows] = unread[rows].scatter(1, cells, unread[rows].gather(1, cells) & ~inside)
            over = (0, self.space.size[0] - cells.shape[1])
            numbers = torch.full_like(rows, len(parts))
            parts.append((rows, numbers, F.pad(cells, over), F.pad(inside, over), F.pad(fresh, over)))
        if not parts:
            return found.float()
        together = (torch.cat(some).split(_AT_ONCE) for some in zip(*parts, strict=True))
        for rows, numbers, cells, inside, fresh in zip(*together, strict=True):
            wide = int(inside.sum(1).max())
            window = x[rows[:, None], cells[:, :wide]]
            seeds = Noise(noise.seeds[rows.cpu()], noise.device)
            bound = self._bound(window, fresh[:, :wide], inside[:, :wide], told[rows], seeds, numbers)
            found.index_add_(0, rows, -bound.to(found))
        return found.float()

    def _bound(
        self, x: Tensor, modelled: Tensor, inside: Tensor | None, told: Tensor, noise: Noise, at: int | Tensor
    ) -> Tensor:
        """Nats `(B,)` of the modelled cells given the others, at least as many as −ln p.

        `inside` are the cells there are (None: all); `at`, of all or of each, tells uses of one noise apart.
        """
        item = torch.zeros_like(x)
        own = None if inside is None else item.where(inside, -1)
        within = noise.uniform("stratum", (_STRATA,), at).to(x.device)
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for stratum in range(_STRATA):
            t = (stratum + within[:, stratum : stratum + 1].double()) / _STRATA
            uniform = noise.uniform("masked", (x.shape[1],), _STRATA * at + stratum).to(x.device)
            masked, weight = chosen(item, modelled, t, uniform)
            total += (self._nats(x, masked, told, own) * weight).sum(1, dtype=torch.float64)
        return (total / _STRATA).float()

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        # Single precision: in a half one, a cell's rounding depends on the batch, and now and then another symbol.
        with torch.autocast(self.device.type, enabled=False):
            yield from filling.generate(self, request, controls)
