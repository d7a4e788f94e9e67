"""Grids of tokens: a causal transformer in raster order, or after known tokens anywhere. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, LikelihoodModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Space, Tokens
from ...nn import nd
from ...nn.decode_step import DecodeStep
from ...nn.hidden_matrices import hidden_matrices
from ...nn.kv_cache import KVCache
from ...nn.masking import random_known
from ...nn.position_embedding import PositionEmbedding
from ...nn.rotary import Rotation
from ...nn.transformer import Transformer
from .options import TokensControls, TokensOptions
from .token_sampler import TokenSampler


class SlotContext(NamedTuple):
    """What each slot, a cell in reading order, adds to the embedding of the token before it: `(B, L, width)`."""

    vectors: Tensor
    rotation: Rotation | None  # of query and key; None: that of raster order

    def at(self, slots: slice) -> SlotContext:
        rotation = self.rotation and (self.rotation[0][:, slots], self.rotation[1][:, slots])
        return SlotContext(self.vectors[:, slots], rotation)


class AutoregressiveTokens(GenerativeModel, LikelihoodModel):
    """A causal transformer over a grid; the likelihood is exact."""

    Options = TokensOptions
    Controls = TokensControls
    exact = True
    supports_given = True
    early_stopping = True
    initialize_items = 2**14

    space: Tokens
    options: TokensOptions

    def __init__(self, space: Tokens, conditions: Mapping[str, Space], options: TokensOptions) -> None:
        super().__init__(space, conditions, options)
        width = options.width
        self.embed = nn.Embedding(space.vocab, width)
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.positions = PositionEmbedding(space.size, width)
        # Of the cell before, which only a reading order other than raster order leaves open.
        self.previous_positions = PositionEmbedding(space.size, width) if options.inpaint_prob else None
        self.conditioner = Conditioner(conditions, width, options.condition_dropout)
        self.transformer = Transformer(
            size=space.size, width=width, layers=options.layers, dropout=options.dropout, causal=True
        )
        self.head = nn.Linear(width, space.vocab)
        nd.zero(self.head)

    def phases(self) -> tuple[Phase]:
        return (Phase(lr=4e-3, muon=hidden_matrices(self)),)

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        """Set the head's bias to the log-frequencies of the tokens."""
        frequency = torch.ones(self.space.vocab, dtype=torch.float64, device=self.device)
        for batch in batches:
            frequency.add_(batch.x.flatten().bincount(minlength=self.space.vocab))
        self.head.bias.copy_((frequency / frequency.sum()).log())

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """Return the nats per token, README equation 2."""
        share = self.options.inpaint_prob
        known = random_known(len(batch.x), self.space.size, share, batch.x.device).flatten(1) if share else None
        return Loss(self._nats(batch, known).sum(1).mean() / self.space.dimensions)

    def _order(self, known: Tensor) -> Tensor | None:
        """Return the cells in reading order, int64 `(B, L)`: the known ones first; None: raster order for any mask."""
        return (~known).byte().argsort(dim=1, stable=True) if self.options.inpaint_prob else None

    def _context(self, x: Tensor, order: Tensor | None, condition: Mapping[str, Tensor]) -> SlotContext:
        """Return the context of the slots of x `(B, L)`."""
        positions = self.positions()
        vector = self.conditioner(condition, x).vector.unsqueeze(1)
        if order is None or self.previous_positions is None:
            return SlotContext(vector + positions, None)
        before = F.pad(order[:, :-1], (1, 0))
        vectors = vector + F.embedding(order, positions) + F.embedding(before, self.previous_positions())
        # A query stands where its token will be, a key where the token stands that it describes.
        return SlotContext(vectors, self.transformer.rotary.between(order, before))

    def _nats(self, batch: Batch, known: Tensor | None) -> Tensor:
        """Return −ln p of each token given those before it in reading order, `(B, L)`; 0 for the known ones."""
        cells = batch.x.flatten(1)
        known = torch.zeros_like(cells, dtype=torch.bool) if known is None else known
        order = self._order(known)
        x = _in_order(cells, order)
        before = torch.cat((self.start.expand(len(x), 1, -1), self.embed(x[:, :-1])), dim=1)
        context = self._context(x, order, batch.condition)
        hidden = self.transformer(before + context.vectors, rotation=context.rotation)
        logits = self.head(hidden).float()
        nats = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").reshape(x.shape)
        return nats.masked_fill(_in_order(known, order), 0.0)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """Return the exact log-likelihood, `(B,)`, README equation 1."""
        return -self._nats(batch, None).sum(1)

    @torch.no_grad()
    def generate(self, request: Request, controls: TokensControls) -> Iterator[Partial]:
        """Raises UserError where tokens are given after a gap and the model was not trained to inpaint."""
        # In fp32: with half precision, rounding depends on the batch, and a token would now and then differ.
        with torch.autocast(self.device.type, enabled=False):
            yield from self._generate(request, controls)

    def _generate(self, request: Request, controls: TokensControls) -> Iterator[Partial]:
        space, count, length = self.space, len(request), self.space.dimensions
        x, known = self._given(request)
        # From here on by slots, in reading order.
        order = self._order(known)
        uniform = _in_order(request.noise.uniform("symbols", (length,)).to(x.device), order)
        x, known = _in_order(x, order), _in_order(known, order)
        guides = controls.guidance != 1 and bool(request.condition)
        context = self._paired_context(x, order, request, guides)
        cache = self.transformer.cache(len(context.vectors), context.vectors)
        step = DecodeStep(self.transformer, controls.weights)
        first = int(known.long().cumprod(1).sum(1).min())  # slots known in all samples are read at once
        done = known.clone()
        sampler = TokenSampler(
            controls,
            history=x,
            counted=(torch.arange(length, device=x.device) < first).expand(count, -1),
            vocab=space.vocab,
            guides=guides,
        )
        for at in range(first, length):
            logits = self._next(x, at, context, cache, step)
            if guides:  # as pairs: each sample with the condition, then without
                logits = logits.unflatten(0, (2, count)).transpose(0, 1).flatten(0, 1)
            tokens = sampler.sample(logits, uniform[:, at], done[:, :at].sum(1))
            x[:, at] = torch.where(known[:, at], x[:, at], tokens)
            sampler.advance(x[:, at])
            done[:, at] = True
            if request.drafts and at + 1 < length and (at + 1) % space.size[-1] == 0:
                yield Partial(*(_in_raster(slots, order).reshape(count, *space.size) for slots in (x, done)))
        x = _in_raster(x, order).reshape(count, *space.size)
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))

    def _given(self, request: Request) -> tuple[Tensor, Tensor]:
        """Return the given tokens `(B, L)`, 0 elsewhere, and which are known."""
        count, length = len(request), self.space.dimensions
        x = torch.zeros(count, length, dtype=torch.int64, device=self.device)
        known = torch.zeros_like(x, dtype=torch.bool)
        if request.given is not None:
            known = request.given.known.to(x.device).expand(count, *self.space.size).reshape(count, length).clone()
            x = torch.where(known, request.given.x.to(x).reshape(count, length), x)
        if not self.options.inpaint_prob and bool((known[:, 1:] & ~known[:, :-1]).any()):
            raise UserError(
                "tokens are given after a gap, and this model was trained for continuation only; "
                "fit with --options.inpaint-prob 0.5 to fill gaps"
            )
        return x, known

    def _paired_context(self, x: Tensor, order: Tensor | None, request: Request, guides: bool) -> SlotContext:
        """Return the context under the condition and, below it, that without one where the condition guides."""
        context = self._context(x, order, dict(request.condition))
        if not guides:
            return context
        vectors = torch.cat((context.vectors, self._context(x, order, {}).vectors))
        rotation = context.rotation and (torch.cat([context.rotation[0]] * 2), torch.cat([context.rotation[1]] * 2))
        return SlotContext(vectors, rotation)

    def _next(self, x: Tensor, at: int, context: SlotContext, cache: KVCache, step: DecodeStep) -> Tensor:
        """Return the logits of slot `at`, `(B or 2 B, vocab)`; the cache holds the slots before it, or none yet."""
        since = cache.length
        if since:
            before = self.embed(x[:, since - 1 : at])
        else:
            before = torch.cat((self.start.expand(len(x), 1, -1), self.embed(x[:, :at])), dim=1)
        if len(context.vectors) > len(x):
            before = torch.cat((before, before))
        context = context.at(slice(since, at + 1))
        inputs = before + context.vectors
        if since:
            hidden = step(inputs[:, 0], cache, context.rotation)
        else:
            hidden = self.transformer(inputs, cache, context.rotation)[:, -1]
        return self.head(hidden).float()


def _in_order(cells: Tensor, order: Tensor | None) -> Tensor:
    """Return values of cells `(B, L)`, in raster order, in reading order."""
    return cells if order is None else cells.gather(1, order)


def _in_raster(slots: Tensor, order: Tensor | None) -> Tensor:
    """Return values of slots `(B, L)`, in reading order, in raster order."""
    return slots if order is None else torch.empty_like(slots).scatter(1, order, slots)
