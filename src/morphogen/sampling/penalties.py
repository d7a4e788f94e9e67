"""What is done to logits before a temperature: penalties on what was drawn already, biases and bans.

In this order, and `steered` applies all of it: `logits.guided` comes first; the penalties (repetition, presence,
frequency); `biased`; the bans (allowed, banned, no repeat, least length, rules). After it `logits.probabilities`
(temperature, top-k, top-p, min-p, typical) and `logits.draw`. Every function returns new logits, or at its neutral
setting the very ones it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UserError
from ..core.model import Rule


class Seen:
    """The symbols of each row so far, in order and counted; grows by one a step.

    `history` int64 `(B, n)`, of which `counted` bool `(B, n)` belongs to the row (None: all), wherever the padding is.
    """

    def __init__(self, history: Tensor, counted: Tensor | None, vocab: int) -> None:
        counted = torch.ones_like(history, dtype=torch.bool) if counted is None else counted
        history = history.where(counted, 0)
        self.counts = history.new_zeros(len(history), vocab, dtype=torch.int32)  # (B, vocab)
        self.counts.scatter_add_(1, history, counted.int())
        self.lengths = counted.sum(1)  # (B,)
        # Where a row is over, there is symbol 0: whether that was seen, its count alone tells.
        self._symbols = history.gather(1, (~counted).byte().argsort(dim=1, stable=True))
        self._longest = int(self.lengths.max()) if len(history) else 0

    @classmethod
    def nothing(cls, rows: int, vocab: int, device: torch.device | str = "cpu") -> Seen:
        """Before the first symbol."""
        return cls(torch.zeros(rows, 0, dtype=torch.int64, device=device), None, vocab)

    @property
    def symbols(self) -> Tensor:
        """`(B, longest)`, each row from the left; 0 after its end."""
        return self._symbols[:, : self._longest]

    def advance(self, symbols: Tensor, counted: Tensor | None = None) -> None:
        """One more symbol `(B,)` in each row, or in those `counted` bool `(B,)`."""
        if self._longest == self._symbols.shape[1]:
            self._symbols = F.pad(self._symbols, (0, max(64, self._longest)))
        one = torch.ones_like(symbols) if counted is None else counted.long()
        symbols = symbols.where(one > 0, 0).unsqueeze(1)
        self._symbols.scatter_(1, self.lengths.unsqueeze(1), symbols)
        self.counts.scatter_add_(1, symbols, one.int().unsqueeze(1))
        self.lengths = self.lengths + one
        self._longest += 1

    def select(self, rows: Tensor) -> Seen:
        """Of those rows `(n,)`, one of them perhaps twice; they go their own way from here on."""
        chosen = Seen.nothing(0, self.counts.shape[1], self.counts.device)
        chosen.counts, chosen.lengths, chosen._symbols = self.counts[rows], self.lengths[rows], self._symbols[rows]
        chosen._longest = self._longest
        return chosen


def penalised(
    logits: Tensor, seen: Seen, *, repetition: float = 1.0, presence: float = 0.0, frequency: float = 0.0
) -> Tensor:
    """Logits `(B, vocab)` in which what was seen is less likely, or more likely at the other side of neutral.

    Positive ones are divided by `repetition` and the others multiplied (Keskar et al., arXiv 1909.05858, section 4.1,
    with the sign minded); then `presence` is taken off what was seen, and `frequency` times its count (OpenAI's API).
    """
    if (repetition == 1 and presence == 0 and frequency == 0) or not seen.symbols.shape[1]:
        return logits
    places = seen.symbols
    if places.shape[1] >= logits.shape[1]:
        places = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    value, count = logits.gather(1, places), seen.counts.gather(1, places)
    changed = torch.where(value > 0, value / repetition, value * repetition)
    changed = changed - count.to(value.dtype) * frequency - presence
    # A symbol is written once for each time it is in the row, every time with the same value.
    return logits.scatter(1, places, changed.where(count > 0, value))


def biased(logits: Tensor, bias: Mapping[int, float]) -> Tensor:
    """Logits `(…, vocab)` with something added to some symbols; −∞ bans. A UserError for a symbol out of range."""
    if not bias:
        return logits
    symbols = _symbols(bias, logits, "bias")
    return logits.index_add(-1, symbols, logits.new_tensor(list(bias.values())).expand(*logits.shape[:-1], -1))


def only(logits: Tensor, symbols: Collection[int]) -> Tensor:
    """Logits `(…, vocab)` of those symbols; −∞ for all others. A UserError for a symbol out of range."""
    places = _symbols(symbols, logits, "allowed")
    return torch.full_like(logits, -torch.inf).index_copy(-1, places, logits.index_select(-1, places))


def without(logits: Tensor, symbols: Collection[int]) -> Tensor:
    """Logits `(…, vocab)` with −∞ for those symbols. A UserError for a symbol out of range."""
    return logits.index_fill(-1, _symbols(symbols, logits, "banned"), -torch.inf) if symbols else logits


def _symbols(symbols: Collection[int], logits: Tensor, control: str) -> Tensor:
    vocab = logits.shape[-1]
    if symbols and not (min(symbols) >= 0 and max(symbols) < vocab):
        wrong = next(symbol for symbol in symbols if not 0 <= symbol < vocab)
        raise UserError(f"'{control}' names symbol {wrong}, and the symbols are 0 to {vocab - 1}")
    return torch.tensor(list(symbols), dtype=torch.int64, device=logits.device)


def unrepeated(logits: Tensor, seen: Seen, length: int) -> Tensor:
    """Logits `(B, vocab)` with −∞ for symbols that would complete a run of `length` that is in the row already; 0: any.

    Paulus et al., arXiv 1705.04304, section 2.5, there for three.
    """
    if length <= 0 or seen.symbols.shape[1] < length:
        return logits
    runs = seen.symbols.unfold(1, length, 1)  # (B, longest - length + 1, length)
    first = torch.arange(runs.shape[1], device=logits.device)
    same = first + length <= seen.lengths.unsqueeze(1)
    for back in range(1, length):
        last = seen.symbols.gather(1, (seen.lengths - back).clamp(min=0).unsqueeze(1))
        same &= runs[:, :, -1 - back] == last
    rows, found = same.nonzero(as_tuple=True)
    return logits.index_put((rows, runs[rows, found, -1]), logits.new_tensor(-torch.inf))


def unended(logits: Tensor, drawn: Tensor, end: int, least: int) -> Tensor:
    """Logits `(B, vocab)` with −∞ for `end` in rows that have `drawn` `(B,)` fewer symbols than `least`."""
    if least <= 0:
        return logits
    at = torch.full((len(logits), 1), end, device=logits.device)
    value = logits.gather(1, at)
    return logits.scatter(1, at, value.masked_fill((drawn < least).unsqueeze(1), -torch.inf))


def obeying(logits: Tensor, rules: Sequence[Sequence[Rule]]) -> Tensor:
    """Logits `(B, vocab)` with −∞ for what the rules of a row do not allow next."""
    allowed: Tensor | None = None
    for row, those in enumerate(rules):
        for rule in those:
            found = rule.allowed()
            if found is not None:
                if allowed is None:
                    allowed = torch.ones_like(logits, dtype=torch.bool)
                allowed[row] &= found.to(logits.device)
    return logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)


@dataclass(frozen=True)
class Steering:
    """What is done to the logits of every step; the defaults leave them as they are."""

    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)  # symbol -> added
    allowed: Collection[int] | None = None  # None: all
    banned: Collection[int] = ()
    no_repeat: int = 0  # length of runs that may not come twice; 0: any may
    least: int = 0  # symbols before `end`
    end: int | None = None


def steered(
    logits: Tensor,
    steering: Steering,
    seen: Seen,
    rules: Sequence[Sequence[Rule]] = (),
    drawn: Tensor | None = None,
) -> Tensor:
    """Logits `(B, vocab)` after penalties, bias and bans, in the order of this module.

    `drawn` `(B,)` is what `least` is held against (None: all that was seen); `rules` are each row's. A UserError where
    nothing is left of a row, with the controls that met.
    """
    drawn = seen.lengths if drawn is None else drawn
    bans: list[tuple[str, Callable[[Tensor], Tensor]]] = []
    if steering.allowed is not None:
        allowed = steering.allowed
        bans.append(("the allowed symbols", lambda x: only(x, allowed)))
    if steering.banned:
        bans.append(("the banned symbols", lambda x: without(x, steering.banned)))
    if steering.no_repeat > 0:
        bans.append((f"no repeat of {steering.no_repeat}", lambda x: unrepeated(x, seen, steering.no_repeat)))
    if steering.least > 0 and steering.end is not None:
        end = steering.end
        bans.append((f"a length of at least {steering.least}", lambda x: unended(x, drawn, end, steering.least)))
    if any(rules):
        bans.append(("the rules", lambda x: obeying(x, rules)))
    at_first = logits
    logits = penalised(
        logits, seen, repetition=steering.repetition, presence=steering.presence, frequency=steering.frequency
    )
    logits = biased(logits, steering.bias)
    for _, ban in bans:
        logits = ban(logits)
    may_ban = bool(bans) or -torch.inf in steering.bias.values()
    if may_ban and bool((empty := logits.amax(-1) == -torch.inf).any()):
        row = int(empty.nonzero()[0])
        nothing = torch.zeros_like(logits)
        met = {
            "what the model allows": at_first[row].isneginf(),
            "the bias": biased(nothing, steering.bias)[row].isneginf(),
            **{name: ban(nothing)[row].isneginf() for name, ban in bans},
        }
        for name in list(met):  # only those are named without which something would be left
            others = [banned for other, banned in met.items() if other != name]
            if others and bool(torch.stack(others).any(0).all()):
                del met[name]
        raise UserError(
            f"sample {row} cannot go on after {int(drawn[row])} symbols: every one is banned by {' and '.join(met)}"
        )
    return logits
