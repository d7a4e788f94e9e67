"""Masked diffusion of token sequences, whose lengths have a distribution of their own. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, LikelihoodModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Space, TokenSequence
from ...nn.hidden_matrices import hidden_matrices
from . import options as settings
from .lengths import Lengths
from .masks import count_per_item
from .network import MaskedTransformer
from .sampler import MaskedSequences, request_condition, unmask

_CHUNK = 64  # windows of long sequences that are read at once


class MaskedDiffusionSequence(GenerativeModel, LikelihoodModel):
    """A bidirectional transformer over windows of tokens and masks; the likelihood is a lower bound."""

    Options = settings.Options
    Controls = settings.SequenceControls
    exact = False
    supports_given = True
    early_stopping = True

    space: TokenSequence

    def __init__(self, space: TokenSequence, conditions: Mapping[str, Space], options: settings.Options) -> None:
        super().__init__(space, conditions, options)
        self.lengths = Lengths(space.context)
        self.network = MaskedTransformer(
            space.vocab, (space.context,), conditions, options, absolute=False, excluded=(space.start, space.end)
        )

    def phases(self) -> tuple[Phase]:
        return (Phase(lr=4e-3, muon=hidden_matrices(self)),)

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        """Set the head's bias to the log-frequencies of the tokens, and count lengths."""
        context, space = self.space.context, self.space
        counts = torch.ones(space.vocab, dtype=torch.float64, device=self.device)
        lengths = torch.zeros(context + 1, dtype=torch.int64, device=self.device)
        longer = middle = 0
        for batch in batches:
            item, modelled = self.items(batch.x)
            counts += batch.x[modelled].bincount(minlength=space.vocab)
            size, starts, ends = (
                count_per_item(mask, item)
                for mask in (modelled, batch.x.eq(space.start), batch.x.eq(space.end) & (item >= 0))
            )
            lengths += size[(starts > 0) & (ends > 0)].clamp(max=context).bincount(minlength=context + 1)
            longer += int(((starts > 0) & (ends == 0)).sum())
            middle += int(((starts == 0) & (size > 0)).sum())
        self.network.initialize(counts)
        within = self.lengths.within
        fitting = F.pad(lengths[:within], (0, 1), value=longer + int(lengths[within:].sum()))
        # Sequences that begin in the middle of an item continue it by half a context each.
        self.lengths.fit(fitting, (context // 2 * middle + 1) / (longer + 1))

    def items(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the item of each token of x `(B, n)`, int64, from 0 on, -1 after an end; and which are modelled."""
        place = torch.arange(x.shape[1], device=x.device).expand_as(x)
        begins, ends = x == self.space.start, x == self.space.end
        last_begin = place.where(begins, -1).cummax(1).values
        last_end = F.pad(place.where(ends, -1).cummax(1).values[:, :-1], (1, 0), value=-1)
        item = begins.cumsum(1).masked_fill(last_end > last_begin, -1)
        return item, (item >= 0) & ~begins & ~ends

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """Return the nats per token, README equation 2."""
        item, modelled = self.items(batch.x)
        return Loss(self.network.loss(batch.x, item, modelled, batch.condition))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """Return a lower bound of the log-likelihood, `(B,)`, README equations 3 to 5; of long items by windows."""
        x, context = batch.x, self.space.context
        vector = self.network.conditioner(batch.condition, x).vector
        item, modelled = self.items(x)
        own = item == item[:, :1]
        stop, ended = own.sum(1), (own & (x == self.space.end)).any(1)
        unread = modelled & own & (torch.arange(x.shape[1], device=x.device) > 0)
        total = self.lengths.log_probability(unread.sum(1), ended)
        # The windows of all items together: few sequences at once leave much of a machine idle.
        parts: list[tuple[Tensor, ...]] = []
        while bool(unread.any()):
            sequences = unread.any(1).nonzero().flatten()
            cells, inside = windows(unread[sequences], stop[sequences], context)
            fresh = unread[sequences].gather(1, cells) & inside
            unread[sequences] = unread[sequences].scatter(1, cells, unread[sequences].gather(1, cells) & ~inside)
            padding = (0, context - cells.shape[1])
            numbers = torch.full_like(sequences, len(parts))
            parts.append((sequences, numbers, F.pad(cells, padding), F.pad(inside, padding), F.pad(fresh, padding)))
        if not parts:
            return total.float()
        chunks = (torch.cat(values).split(_CHUNK) for values in zip(*parts, strict=True))
        for sequences, numbers, cells, inside, fresh in zip(*chunks, strict=True):
            columns = int(inside.sum(1).max())
            window = x[sequences[:, None], cells[:, :columns]]
            seeds = Noise(noise.seeds[sequences.cpu()], noise.device)
            bound = self.network.bound(
                window, fresh[:, :columns], inside[:, :columns], vector[sequences], seeds, numbers
            )
            total.index_add_(0, sequences, -bound.to(total))
        return total.float()

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.SequenceControls) -> Iterator[Partial]:
        """Yield drafts. Raises UserError on token constraints."""
        if any(request.token_constraints):
            raise UserError("stop strings and grammars need tokens from left to right, not in any order")
        # In fp32: with half precision, rounding depends on the batch, and a token would now and then differ.
        with torch.autocast(self.device.type, enabled=False):
            yield from self._generate(request, controls)

    def _generate(self, request: Request, controls: settings.SequenceControls) -> Iterator[Partial]:
        """Sample the length of each sequence that is not given, then unmask it window by window."""
        condition = request_condition(self.network, request, controls)
        x, known, stop = self._layout(request, controls)
        beyond = torch.arange(x.shape[1], device=x.device) >= stop[:, None]
        token_uniform, order_uniform = (
            request.noise.uniform(name, (x.shape[1],)).to(x.device) for name in ("symbols", "order")
        )
        while bool((missing := ~known & ~beyond).any()):
            sequences = missing.any(1).nonzero().flatten()
            cells, inside = windows(missing[sequences], stop[sequences], self.space.context)
            at = (sequences[:, None], cells)
            window = MaskedSequences(
                x[at], known[at], inside, condition[sequences], token_uniform[at], order_uniform[at]
            )
            for _ in unmask(self.network, controls, window):
                x[at], known[at] = window.x, window.known
                if request.drafts and not bool((known | beyond).all()):
                    yield Partial(x, known | beyond)
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))

    def _layout(self, request: Request, controls: settings.SequenceControls) -> tuple[Tensor, Tensor, Tensor]:
        """Return sequences `(B, n)` of what is given and ends, which tokens are known, and where each stops, `(B,)`."""
        space, count, device = self.space, len(request), self.device
        given = torch.full((count, space.context), space.start, device=device)
        given_known = torch.zeros_like(given, dtype=torch.bool)
        if request.given is not None:
            given = request.given.x.to(device)
            given_known = request.given.known.to(device).expand(given.shape).clone()
        given = given.clone()
        given[:, 0] = torch.where(given_known[:, 0], given[:, 0], space.start)
        given_known[:, 0] = True
        place = torch.arange(given.shape[1], device=device)
        ends = given_known & (given == space.end)
        last = place.where(given_known, -1).amax(1)
        stop = last + 1 + controls.most(space.max_length - 1)
        length = self.lengths.sample(last + controls.min_length, request.noise)
        end = torch.where(ends.any(1), ends.long().argmax(1), length + 1)
        closed = ends.any(1) | (end < stop)  # others stop without an end
        stop = torch.where(closed, end + 1, stop)
        columns = max(given.shape[1], int(stop.max()))
        x = torch.full((count, columns), space.end, device=device)
        known = torch.zeros_like(x, dtype=torch.bool)
        x[:, : given.shape[1]] = torch.where(given_known, given, x[:, : given.shape[1]])
        known[:, : given.shape[1]] = given_known
        known |= closed[:, None] & (torch.arange(columns, device=device) == stop[:, None] - 1)
        return x, known, stop


def windows(unread: Tensor, stop: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """Return, of sequences `(B, n)`, the columns to read at once, int64 `(B, m)`, and which of them belong to each.

    Up to half a context before the first `unread` token, and as much after it as there is room; a sequence stops at
    `stop` `(B,)`, and its last window is full. Both depend on that sequence alone.
    """
    first = unread.long().argmax(1)
    begin = (first - context // 2).minimum(stop - context).clamp(min=0)
    columns = min(context, int((stop - begin).max()))
    cells = begin[:, None] + torch.arange(columns, device=unread.device)
    # Beyond the last column they wrap to the first, so that no column occurs twice.
    return cells % unread.shape[1], cells < stop[:, None]
