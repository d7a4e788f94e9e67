"""Token sequences: a causal transformer whose predictions are mixed with n-gram counts. Equations: README.md."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core import plugins
from ...core.condition import Conditioner
from ...core.errors import UserError
from ...core.model import Batch, EmbeddingModel, GenerativeModel, LikelihoodModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Space, TokenSequence
from ...nn import nd
from ...nn.hidden_matrices import hidden_matrices
from ...nn.rotary import SEQUENCE_BASE
from ...nn.transformer import Transformer
from .calibration import MixtureInputs, calibrate
from .ngram import NetworkPrediction, NGramCounts, NGramMixture
from .options import SequenceControls, SequenceOptions
from .search import beam_search, best_of
from .sequence_sampler import SequenceNetwork, SequenceSampler

_CHUNK = 64  # windows of long sequences that are read at once
_CALIBRATION_TOKENS = 2**14
_READING = 0.5  # of the seconds of calibration: for the network's predictions, the rest for the mixture
_NETWORK_WEIGHT = 0.3  # of the network's own loss beside that of the mixture
# Weight in training of tokens that a window shares with the one before it. No item ends among these, so that with a
# weight of 1 ends are learned too rarely: README.
_READ_AGAIN = 0.3


class AutoregressiveSequence(GenerativeModel, LikelihoodModel, EmbeddingModel):
    """A causal transformer mixed with n-gram counts; the likelihood is exact."""

    Options = SequenceOptions
    Controls = SequenceControls
    exact = True
    supports_given = True
    supports_token_constraints = True
    early_stopping = True
    initialize_items = 2**14
    # On tiny Shakespeare, in examples of 256 that overlap by half, .46 M parameters had a lower validation loss after
    # five minutes than 1.6 M after ten; 2,200 steps of 8 examples a lower one than 1,270 of 32.
    min_tokens_per_parameter = 4.0
    preferred_steps = 4000

    space: TokenSequence
    options: SequenceOptions

    def __init__(self, space: TokenSequence, conditions: Mapping[str, Space], options: SequenceOptions) -> None:
        super().__init__(space, conditions, options)
        width, order = options.width, options.ngram_order
        self.embed = nn.Embedding(space.vocab, width)
        self.ngrams = NGramMixture(space.vocab, width, order, start=space.start, end=space.end) if order else None
        self.conditioner = Conditioner(conditions, width, options.condition_dropout)
        self.transformer = Transformer(
            size=(space.context,),
            width=width,
            layers=options.layers,
            dropout=options.dropout,
            causal=True,
            base=SEQUENCE_BASE,
        )
        self.head = nn.Linear(width, space.vocab)
        nd.zero(self.head)

    def phases(self) -> tuple[Phase]:
        return (Phase(lr=4e-3, muon=hidden_matrices(self)),)

    def stored_data(self) -> Sequence[str]:
        if self.ngrams is None:
            return ()
        order = self.options.ngram_order
        return (
            f"counts of up to {order + 1} tokens in a row, which are pieces of the training data (none with "
            "--options.ngram-order 0)",
        )

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        """Set the head's bias to the log-frequencies of the tokens, and count n-grams."""
        frequency = torch.ones(self.space.vocab, dtype=torch.float64, device=self.device)

        def examples() -> Iterator[tuple[Tensor, Tensor]]:
            for batch in batches:
                once = self._modelled(batch.x) & self._fresh(batch.x)
                frequency.add_(batch.x[once].bincount(minlength=self.space.vocab))
                if self.ngrams is not None:
                    yield batch.x, once

        counted = examples()
        if self.ngrams is not None:
            self.ngrams.fit(counted)
        collections.deque(counted, maxlen=0)
        self.head.bias.copy_((frequency / frequency.sum()).log())

    def on_step_end(self, progress: float, epochs: float, losses: Mapping[str, float]) -> None:
        """Drop, at the end, what only training needs."""
        if progress >= 1 and self.ngrams is not None:
            self.ngrams.drop_folds()

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """Return the nats per token, README equation 2, and in training a share of the network's own."""
        nats, network_nats = self._nats(batch.x, batch.condition)
        weights = self._modelled(batch.x).float()
        if self.training:
            weights = weights * torch.where(self._fresh(batch.x), 1.0, _READ_AGAIN)
            nats, network_nats = nats * weights, network_nats * weights
        count = weights.sum().clamp(min=1)
        loss = nats.sum() / count
        both = self.training and self.ngrams is not None
        extra = _NETWORK_WEIGHT * network_nats.sum() / count if both else 0.0
        return Loss(loss + extra, {"nats": loss.detach()})

    def token_nats(self, x: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Return −ln p of each token of x `(B, n)` given those of its item before it; 0 where none is modelled."""
        return self._nats(x, condition)[0]

    def _nats(self, x: Tensor, condition: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return −ln p of each token of x `(B, n)`, of the mixture and of the network by itself."""
        modelled = self._modelled(x)
        network = self._network(x, condition)
        nats = network.nats
        if self.ngrams is not None:
            nats = self.ngrams.nats(network, self._ends(x), self._ngram_counts(self.ngrams, x))
        return F.pad(nats, (1, 0)) * modelled, F.pad(network.nats, (1, 0)) * modelled

    def _ends(self, x: Tensor) -> Tensor:
        """Return which tokens of x `(B, n)` but the first are an end."""
        return x[:, 1:] == self.space.end

    def _network(self, x: Tensor, condition: Mapping[str, Tensor]) -> NetworkPrediction:
        """Return what the network says of each token of x `(B, n)` but the first."""
        previous, vector = x[:, :-1], self.conditioner(condition, x).vector.unsqueeze(1)
        begins = previous.eq(self.space.start)
        mask = None
        if bool(begins[:, 1:].any()):  # items of one example do not see each other
            item = begins.cumsum(1)
            mask = (item[:, :, None] == item[:, None, :]).unsqueeze(1)
        hidden = self.transformer(self.embed(previous) + vector, mask=mask)
        logits = self.head(hidden).float()
        total = logits.logsumexp(-1)
        nats = total - logits.gather(-1, x[:, 1:, None]).squeeze(-1)
        return NetworkPrediction(hidden, nats, total - logits[..., self.space.end])

    def _ngram_counts(self, ngrams: NGramMixture, x: Tensor) -> NGramCounts:
        """Return the counts for the same tokens; in training without those of an example's own fold."""
        return ngrams.target_counts(x[:, :-1], x[:, 1:], ngrams.columns(x, hold_out=self.training))

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch], seconds: float | None = None) -> None:
        """Fit the mixture weights and discounts of README, equations 3 and 4, to validation items."""
        if self.ngrams is None:
            return
        parts: list[MixtureInputs] = []
        positions: list[Tensor] = []
        started = time.monotonic()
        for batch in batches:
            inside = (self._modelled(batch.x) & self._fresh(batch.x))[:, 1:]
            network, counts = self._network(batch.x, batch.condition), self._ngram_counts(self.ngrams, batch.x)
            parts.append(MixtureInputs(network, self._ends(batch.x), counts).select(inside))
            positions.append(len(positions) + inside.nonzero()[:, 0] / len(inside))
            if sum(len(part.ends) for part in parts) > _CALIBRATION_TOKENS:
                break
            if seconds is not None and time.monotonic() - started > _READING * seconds:
                break
        position = torch.cat(positions)
        first = position < position[len(position) // 2 :][:1]
        if bool(first.any()):
            calibrate(self.ngrams, MixtureInputs.concatenate(parts), first)

    def _modelled(self, x: Tensor) -> Tensor:
        """Return which tokens are modelled, bool `(B, n)`: no start, none after an end, not an example's first."""
        ended = x[:, :-1] == self.space.end
        return F.pad((x[:, 1:] != self.space.start) & ~ended, (1, 0))

    def _fresh(self, x: Tensor) -> Tensor:
        """Return a mask `(B, n)` without the tokens that an example shares with the one before it, of the same item."""
        context = self.space.context
        late = torch.arange(x.shape[1], device=x.device) >= context - context // 2
        return (x[:, :1] == self.space.start) | late

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """Return the exact log-likelihood of the tokens, `(B,)`, README equation 1; of long items by windows."""
        context, half = self.space.context, self.space.context // 2
        total = torch.zeros(len(batch.x), device=batch.x.device)
        for begin in range(0, max(1, batch.x.shape[1] - context + half), half):
            window = batch.x[:, begin : begin + context]
            fresh = slice(context - half if begin else 0, None)
            unread = self._modelled(window)[:, fresh].any(1).nonzero().flatten()
            for part in unread.split(_CHUNK):
                condition = {name: value[part] for name, value in batch.condition.items()}
                total[part] -= self.token_nats(window[part], condition)[:, fresh].sum(1)
        return total

    @torch.no_grad()
    def embeddings(self, batch: Batch) -> Tensor:
        """Return the mean over tokens of the hidden vector before each, `(B, width)`, within the first context."""
        x = batch.x[:, : self.space.context]
        inside = self._modelled(x)[:, 1:, None].float()
        hidden = torch.cat([self._network(part, {}).hidden.float() for part in x.split(_CHUNK)])
        return (hidden * inside).sum(1) / inside.sum(1).clamp(min=1)

    def _refuse_gaps(self, known: Tensor) -> None:
        """Raise UserError, naming the families that fill gaps, where something is known after what is not."""
        if bool(known.long().cummin(1).values.eq(known).all()) and bool(known[:, 0].all()):
            return
        able = plugins.supporting("supports_given", TokenSequence)
        others = [name for name in able if plugins.model_for(name, TokenSequence) is not type(self)]
        hint = f"to fill gaps, fit with --family {' or '.join(others)}" if others else "give a beginning only"
        raise UserError(f"tokens are given after a gap, and this model only continues a beginning; {hint}")

    @torch.no_grad()
    def generate(self, request: Request, controls: SequenceControls) -> Iterator[Partial]:
        """Yield drafts. Raises UserError where tokens are given after a gap."""
        if request.given is not None:
            self._refuse_gaps(request.given.known)
        network = SequenceNetwork(self.space, self.embed, self.conditioner, self.transformer, self.head, self.ngrams)
        # In fp32: with half precision, rounding depends on the batch, and a token would now and then differ.
        with torch.autocast(self.device.type, enabled=False):
            if controls.beams > 1:
                yield beam_search(network, request, controls)
            elif controls.best_of > 1:
                yield best_of(network, request, controls)
            else:
                yield from SequenceSampler(network, request, controls).run()
