"""Changes to logits before sampling: penalties on tokens that occurred, biases, and bans.

`process_logits` applies all of it, in this order: the penalties (repetition, presence, frequency); the bias; the bans
(allowed, banned, repeated n-grams, minimum length, token constraints). Guidance (`logits.guided`) comes before,
temperature and truncation (`logits.controlled`) after. Each function returns new logits, or, where it has nothing to
do, the logits it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UserError
from ..core.model import TokenConstraint
from .token_controls import LogitControls


class TokenHistory:
    """The tokens of each sample so far, in order and counted; grows by one a step.

    Starts with `tokens` int64 `(B, n)`, of which `counted` bool `(B, n)` belong to the sample (None: all), wherever the
    padding is.
    """

    def __init__(self, tokens: Tensor, counted: Tensor | None, vocab: int) -> None:
        counted = torch.ones_like(tokens, dtype=torch.bool) if counted is None else counted
        tokens = tokens.where(counted, 0)
        self.counts = tokens.new_zeros(len(tokens), vocab, dtype=torch.int32)  # (B, vocab)
        self.counts.scatter_add_(1, tokens, counted.int())
        self.lengths = counted.sum(1)  # (B,)
        # Padded with token 0 on the right: only its count says whether a sample has it.
        self._tokens = tokens.gather(1, (~counted).byte().argsort(dim=1, stable=True))
        self._longest = int(self.lengths.max()) if len(tokens) else 0

    @classmethod
    def empty(cls, samples: int, vocab: int, device: torch.device | str = "cpu") -> TokenHistory:
        """Return the history before the first token."""
        return cls(torch.zeros(samples, 0, dtype=torch.int64, device=device), None, vocab)

    @property
    def tokens(self) -> Tensor:
        """`(B, longest)`, left-aligned, padded with 0."""
        return self._tokens[:, : self._longest]

    def advance(self, tokens: Tensor, counted: Tensor | None = None) -> None:
        """Append one token `(B,)` to each sample, or to those `counted` bool `(B,)`."""
        if self._longest == self._tokens.shape[1]:
            self._tokens = F.pad(self._tokens, (0, max(64, self._longest)))
        one = torch.ones_like(tokens) if counted is None else counted.long()
        tokens = tokens.where(one > 0, 0).unsqueeze(1)
        self._tokens.scatter_(1, self.lengths.unsqueeze(1), tokens)
        self.counts.scatter_add_(1, tokens, one.int().unsqueeze(1))
        self.lengths = self.lengths + one
        self._longest += 1

    def select(self, samples: Tensor) -> TokenHistory:
        """Return the history of those samples `(n,)`, one of them perhaps twice; the copies are independent."""
        chosen = TokenHistory.empty(0, self.counts.shape[1], self.counts.device)
        chosen.counts, chosen.lengths = self.counts[samples], self.lengths[samples]
        chosen._tokens, chosen._longest = self._tokens[samples], self._longest
        return chosen


def penalise(
    logits: Tensor, history: TokenHistory, *, repetition: float = 1.0, presence: float = 0.0, frequency: float = 0.0
) -> Tensor:
    """Return logits `(B, vocab)` in which tokens that occurred are less likely (above 1 or 0) or likelier.

    Positive logits are divided by `repetition`, others multiplied (Keskar et al., arXiv 1909.05858, section 4.1, which
    divides whatever the sign); then `presence` is subtracted, and `frequency` times the count (OpenAI's API).
    """
    if (repetition == 1 and presence == 0 and frequency == 0) or not history.tokens.shape[1]:
        return logits
    tokens = history.tokens
    if tokens.shape[1] >= logits.shape[1]:
        tokens = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    value, count = logits.gather(1, tokens), history.counts.gather(1, tokens)
    changed = torch.where(value > 0, value / repetition, value * repetition)
    changed = changed - count.to(value.dtype) * frequency - presence
    # A token is written once for each time it occurred, every time with the same value.
    return logits.scatter(1, tokens, changed.where(count > 0, value))


def add_bias(logits: Tensor, bias: Mapping[int, float]) -> Tensor:
    """Return logits `(…, vocab)` plus the bias of each token; −∞ bans. Raises UserError on a token out of range."""
    if not bias:
        return logits
    tokens = _tokens(bias, logits, "logit_bias")
    return logits.index_add(-1, tokens, logits.new_tensor(list(bias.values())).expand(*logits.shape[:-1], -1))


def allow_only(logits: Tensor, allowed: Collection[int]) -> Tensor:
    """Return logits `(…, vocab)` with −∞ for all other tokens. Raises UserError on a token out of range."""
    tokens = _tokens(allowed, logits, "allowed")
    return torch.full_like(logits, -torch.inf).index_copy(-1, tokens, logits.index_select(-1, tokens))


def ban(logits: Tensor, banned: Collection[int]) -> Tensor:
    """Return logits `(…, vocab)` with −∞ for the banned tokens. Raises UserError on a token out of range."""
    return logits.index_fill(-1, _tokens(banned, logits, "banned"), -torch.inf) if banned else logits


def _tokens(tokens: Collection[int], logits: Tensor, control: str) -> Tensor:
    vocab = logits.shape[-1]
    if tokens and not (min(tokens) >= 0 and max(tokens) < vocab):
        wrong = next(token for token in tokens if not 0 <= token < vocab)
        raise UserError(f"'{control}' names token {wrong}; token ids are 0 to {vocab - 1}")
    return torch.tensor(list(tokens), dtype=torch.int64, device=logits.device)


def ban_repeats(logits: Tensor, history: TokenHistory, length: int) -> Tensor:
    """Return logits `(B, vocab)` with −∞ for tokens that would complete an n-gram of that length again; 0: none.

    Paulus et al., arXiv 1705.04304, section 2.5, there for trigrams.
    """
    if length <= 0 or history.tokens.shape[1] < length:
        return logits
    ngrams = history.tokens.unfold(1, length, 1)  # (B, longest - length + 1, length)
    first = torch.arange(ngrams.shape[1], device=logits.device)
    same = first + length <= history.lengths.unsqueeze(1)
    for back in range(1, length):
        last = history.tokens.gather(1, (history.lengths - back).clamp(min=0).unsqueeze(1))
        same &= ngrams[:, :, -1 - back] == last
    samples, places = same.nonzero(as_tuple=True)
    return logits.index_put((samples, ngrams[samples, places, -1]), logits.new_tensor(-torch.inf))


def ban_end(logits: Tensor, generated: Tensor, end: int, min_length: int) -> Tensor:
    """Return logits `(B, vocab)` with −∞ for `end` where fewer than `min_length` tokens were `generated` `(B,)`."""
    if min_length <= 0:
        return logits
    at = torch.full((len(logits), 1), end, device=logits.device)
    value = logits.gather(1, at)
    return logits.scatter(1, at, value.masked_fill((generated < min_length).unsqueeze(1), -torch.inf))


def constrain(logits: Tensor, constraints: Sequence[Sequence[TokenConstraint]]) -> Tensor:
    """Return logits `(B, vocab)` with −∞ for what the constraints of each sample do not allow next."""
    allowed: Tensor | None = None
    for sample, own in enumerate(constraints):
        for constraint in own:
            mask = constraint.allowed()
            if mask is not None:
                if allowed is None:
                    allowed = torch.ones_like(logits, dtype=torch.bool)
                allowed[sample] &= mask.to(logits.device)
    return logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)


def process_logits(
    logits: Tensor,
    controls: LogitControls,
    history: TokenHistory,
    constraints: Sequence[Sequence[TokenConstraint]] = (),
    *,
    generated: Tensor | None = None,
    min_length: int = 0,
    end: int | None = None,
) -> Tensor:
    """Return logits `(B, vocab)` after penalties, bias and bans, in the order of this module.

    `generated` `(B,)` counts the tokens that `min_length` is compared with (None: all of the history). Raises UserError
    where no token is left for a sample, with the controls that conflict.
    """
    generated = history.lengths if generated is None else generated
    bans: list[tuple[str, Callable[[Tensor], Tensor]]] = []
    if controls.allowed is not None:
        allowed = controls.allowed
        bans.append(("allowed", lambda x: allow_only(x, allowed)))
    if controls.banned:
        bans.append(("banned", lambda x: ban(x, controls.banned)))
    if controls.no_repeat_ngram > 0:
        bans.append(("no_repeat_ngram", lambda x: ban_repeats(x, history, controls.no_repeat_ngram)))
    if min_length > 0 and end is not None:
        bans.append(("min_length", lambda x: ban_end(x, generated, end, min_length)))
    if any(constraints):
        bans.append(("the token constraints", lambda x: constrain(x, constraints)))
    original = logits
    logits = penalise(
        logits,
        history,
        repetition=controls.repetition_penalty,
        presence=controls.presence_penalty,
        frequency=controls.frequency_penalty,
    )
    logits = add_bias(logits, controls.logit_bias)
    for _, apply in bans:
        logits = apply(logits)
    may_ban = bool(bans) or -torch.inf in controls.logit_bias.values()
    if may_ban and bool((empty := logits.amax(-1) == -torch.inf).any()):
        sample = int(empty.nonzero()[0])
        raise _conflict(original, controls.logit_bias, bans, sample, int(generated[sample]))
    return logits


def _conflict(
    logits: Tensor,
    bias: Mapping[int, float],
    bans: Sequence[tuple[str, Callable[[Tensor], Tensor]]],
    sample: int,
    length: int,
) -> UserError:
    """Return the error for a sample without any token left; it names only controls without which one would be."""
    zeros = torch.zeros_like(logits)
    banned = {
        "the model": logits[sample].isneginf(),
        "logit_bias": add_bias(zeros, bias)[sample].isneginf(),
        **{name: apply(zeros)[sample].isneginf() for name, apply in bans},
    }
    for name in list(banned):
        others = [mask for other, mask in banned.items() if other != name]
        if others and bool(torch.stack(others).any(0).all()):
            del banned[name]
    return UserError(
        f"sample {sample} has no token left after {length}: {' and '.join(banned)} together ban all; relax one of them"
    )
