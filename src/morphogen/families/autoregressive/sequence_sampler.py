"""Sampling token sequences of different lengths, past the context, each until its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.model import Partial, Request
from ...core.space import TokenSequence
from ...nn.decode_step import DecodeStep
from ...nn.quantized_linear import quantized_linear
from ...nn.transformer import Transformer
from .ngram import NGramMixture
from .options import SequenceControls
from .token_sampler import TokenSampler


class SequenceNetwork(NamedTuple):
    """The parts of a sequence model that sampling reads."""

    space: TokenSequence
    embed: nn.Embedding
    conditioner: Conditioner
    transformer: Transformer
    head: nn.Linear
    ngrams: NGramMixture | None

    @property
    def device(self) -> torch.device:
        return self.embed.weight.device


class SequenceSampler:
    """The sequences of one request while they are generated; a finished one leaves the batch.

    The context window moves by halves: where it is full, its last half is read anew and generation goes on, as in the
    likelihood of long items. So what a sequence reads depends on its own length alone, and not on those beside it.
    """

    def __init__(
        self, network: SequenceNetwork, request: Request, controls: SequenceControls, candidate: int = 0
    ) -> None:
        """`candidate` numbers several samples of one seed."""
        self.network, self.request, self.controls = network, request, controls
        count, device, self.context = len(request), network.device, network.space.context
        prompt, known = _prompts(request, network)
        lengths = known.long().sum(1)
        self.end = network.space.end
        self.max_length = controls.most(network.space.max_length)
        columns = int(lengths.max()) + self.max_length
        self.x = torch.full((count, columns), self.end, device=device)
        given = min(columns, known.shape[1])
        self.x[:, :given] = self.x[:, :given].where(~known[:, :given], prompt[:, :given])
        # Of each active sequence: the sample it belongs to, its length, its prompt's, and where its window begins.
        self.samples = torch.arange(count, device=device)
        self.lengths: list[int] = lengths.tolist()
        self.prompt_lengths = list(self.lengths)
        self.windows = [self._window(length) for length in self.lengths]
        self.length = lengths.clone()  # `lengths` as a tensor
        # Of each sample, active or not.
        self.given, self._sample_lengths = lengths, lengths.clone()
        self.uniform = request.noise.uniform("symbols", (self.max_length,), at=candidate).to(device)
        self.nats = torch.zeros(count, device=device)  # −ln p of the tokens generated, where `best_of` needs it
        guides = controls.guidance != 1 and bool(request.condition)
        contexts = [network.conditioner(dict(request.condition), self.x).vector]
        if guides:
            contexts.append(network.conditioner({}, self.x).vector)
        self.condition = torch.stack(
            contexts, dim=1
        )  # (B, copies, width): with the condition and, for guidance, without
        self.copies = len(contexts)
        self.cache = network.transformer.ragged_cache(count * self.copies, self.condition)
        self.step = DecodeStep(network.transformer, controls.weights)
        self.head = quantized_linear(network.head.weight, controls.weights)
        self.token_sampler = TokenSampler(
            controls,
            request.token_constraints,
            history=self.x,
            counted=torch.arange(columns, device=device) < lengths[:, None],
            vocab=network.space.vocab,
            start=network.space.start,
            end=self.end,
            min_length=controls.min_length,
            guides=guides,
        )
        for own in self.token_sampler.constraints:
            for constraint in own:
                constraint.limit(self.max_length)

    def run(self) -> Iterator[Partial]:
        """Yield a draft for each token, where drafts are wanted; the last is the sample."""
        logits = self.read(list(range(len(self.lengths))))
        while True:
            self._sample(logits)
            if not self.lengths:
                break
            if self.request.drafts:
                known = torch.arange(self.x.shape[1], device=self.x.device) < self._lengths_of_samples()[:, None]
                yield Partial(self.x, known)
            logits = self.next_logits()
        yield Partial(self.x, torch.ones_like(self.x, dtype=torch.bool))

    @property
    def generated(self) -> Tensor:
        """How many tokens of each sample were generated, `(B,)`."""
        return self._lengths_of_samples() - self.given

    def _lengths_of_samples(self) -> Tensor:
        self._sample_lengths[self.samples] = self.length
        return self._sample_lengths

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return ln p of the active sequences' next tokens, `(B, vocab)`, under the controls that change logits."""
        generated = self.length - self.given[self.samples]
        return self.token_sampler.process(logits, generated).log_softmax(dim=-1)

    def follow(self, sequences: Tensor, tokens: Tensor) -> None:
        """Replace the active sequences by those numbered, `(n,)`, one of them perhaps twice, each with one token more.

        For a beam search, whose sequences are all of one sample.
        """
        chosen = sequences.tolist()
        self.x[: len(chosen)] = self.x[sequences]
        self.cache.select(self._cache_sequences(chosen))
        self.token_sampler.select(chosen)
        self.token_sampler.advance(tokens)
        self.lengths, self.prompt_lengths, self.windows = (
            [values[sequence] for sequence in chosen] for values in (self.lengths, self.prompt_lengths, self.windows)
        )
        self.samples = torch.arange(len(chosen), device=self.x.device)
        self.length = self.length[sequences]
        self._append(tokens)

    def _append(self, tokens: Tensor) -> None:
        self.x[self.samples, self.length] = tokens
        self.length = self.length + 1
        self.lengths = [length + 1 for length in self.lengths]

    def _window(self, length: int) -> int:
        """Return where the window of a sequence of that length begins."""
        half = self.context // 2
        return max(0, (length - self.context) // half + 1) * half

    def _sample(self, logits: Tensor) -> None:
        """Sample one token for each active sequence; finished sequences leave."""
        generated = self.length - self.given[self.samples]
        tokens = self.token_sampler.sample(logits, self.uniform[self.samples, generated], generated)
        self.token_sampler.advance(tokens)
        if self.controls.best_of > 1:
            conditional = logits[:: self.copies].log_softmax(dim=-1)
            self.nats[self.samples] -= conditional.gather(1, tokens[:, None]).squeeze(1)
        self._append(tokens)
        last = tokens.tolist()
        for sequence in reversed(range(len(last))):
            if last[sequence] == self.end or self.lengths[sequence] - self.prompt_lengths[sequence] == self.max_length:
                self._remove(sequence)

    def _remove(self, sequence: int) -> None:
        for copy in reversed(range(self.copies)):
            self.cache.remove(sequence * self.copies + copy)
        self.token_sampler.remove(sequence)
        for values in (self.lengths, self.prompt_lengths, self.windows):
            values[sequence] = values[-1]
            values.pop()
        self._sample_lengths[self.samples[sequence]] = self.length[sequence]
        self.samples, self.length = (_without(values, sequence) for values in (self.samples, self.length))

    def next_logits(self) -> Tensor:
        """Return the logits of the next token of each active sequence."""
        full = [
            sequence for sequence, length in enumerate(self.lengths) if length - self.windows[sequence] == self.context
        ]
        for sequence in full:
            self.windows[sequence] = self._window(self.lengths[sequence])
        if len(full) == len(self.lengths):
            return self.read(full)
        logits = self._step()
        if full:
            logits[self._cache_sequences(full)] = self.read(full)
        return logits

    def _cache_sequences(self, sequences: list[int]) -> list[int]:
        return [sequence * self.copies + copy for sequence in sequences for copy in range(self.copies)]

    def _step(self) -> Tensor:
        """Let all active sequences read one token more."""
        last = self.x[self.samples, self.length - 1]
        embedded = self.network.embed(last).unsqueeze(1) + self.condition[self.samples]
        hidden = self.step(embedded.flatten(0, 1), self.cache)
        return self._logits(hidden, list(range(len(self.lengths))))

    def read(self, sequences: list[int]) -> Tensor:
        """Return the logits of the next token of these sequences, whose windows are read from their first token on."""
        device = self.x.device
        counts = [self.lengths[sequence] - self.windows[sequence] for sequence in sequences]
        samples, begins = (
            self.samples[sequences],
            torch.tensor([self.windows[sequence] for sequence in sequences], device=device),
        )
        places = begins[:, None] + torch.arange(max(counts), device=device)
        window = self.x[samples[:, None], places.clamp(max=self.x.shape[1] - 1)]
        embedded = self.network.embed(window).unsqueeze(1) + self.condition[samples].unsqueeze(2)
        counts = [count for count in counts for _ in range(self.copies)]
        self.cache.begin(self._cache_sequences(sequences), counts)
        hidden = self.network.transformer(embedded.flatten(0, 1), self.cache)
        ends = torch.tensor(counts, device=device) - 1
        return self._logits(hidden[torch.arange(len(hidden), device=device), ends], sequences)

    def _logits(self, hidden: Tensor, sequences: list[int]) -> Tensor:
        """Return logits from the hidden vectors of these sequences, for all their copies."""
        logits, ngrams = self.head(hidden).float() + self.network.head.bias, self.network.ngrams
        if ngrams is None:
            return logits
        device = hidden.device
        counts = [self.lengths[sequence] - self.windows[sequence] for sequence in sequences]
        last = (self.length[sequences][:, None] - torch.arange(max(*counts, 2), 0, -1, device=device)).clamp(min=0)
        window = self.x[self.samples[sequences][:, None], last].repeat_interleave(self.copies, 0)
        length = torch.tensor(counts, device=device).repeat_interleave(self.copies)
        return ngrams.logits(hidden, logits, ngrams.next_counts(window, length))


def _prompts(request: Request, network: SequenceNetwork) -> tuple[Tensor, Tensor]:
    """Return the given tokens `(B, n)`, a start where nothing is given, and which are known."""
    if request.given is None:
        x = torch.full((len(request), 1), network.space.start, device=network.device)
        return x, torch.ones_like(x, dtype=torch.bool)
    x = request.given.x.to(network.device)
    return x, request.given.known.expand(x.shape).to(network.device)


def _without(values: Tensor, sequence: int) -> Tensor:
    """Return the values of all sequences but one, with the last one in its place."""
    rest = values[:-1].clone()
    if sequence < len(rest):
        rest[sequence] = values[-1]
    return rest
