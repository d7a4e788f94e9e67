"""The distribution of the lengths of sequences, counted in the training items. Equations: README.md."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...core.noise import Noise
from ...sampling.logits import draw

_SMOOTHING = 0.01  # of an item, spread over all lengths
_LONGEST = 2.0**40  # so that a length is a whole number of 64 bits


class Lengths(nn.Module):
    """Lengths without start and end: counted up to `context` − 2, geometric beyond.

    Before `fit`, all lengths within the context are as likely as each other, and as any beyond together.
    """

    probabilities: Tensor
    excess: Tensor

    def __init__(self, context: int) -> None:
        super().__init__()
        self.within = max(1, context - 1)  # how many lengths fit
        # Of each length that fits, and of all others together.
        self.register_buffer("probabilities", torch.full((self.within + 1,), 1 / (self.within + 1)))
        self.register_buffer("excess", torch.ones(()))  # by which those are longer on average than the first of them

    def fit(self, counts: Tensor, excess: float) -> None:
        """Set the distribution from `counts` `(within + 1,)` of items of each length, and of longer ones."""
        smoothed = counts.double() + _SMOOTHING / len(counts)
        self.probabilities.copy_(smoothed / smoothed.sum())
        self.excess.fill_(excess)

    @property
    def _continuation(self) -> Tensor:
        """The probability that a long item has one token more."""
        excess = self.excess.double()
        return excess / (1 + excess)

    def log_probability(self, length: Tensor, ended: Tensor) -> Tensor:
        """Return ln p of lengths int64 `(B,)`, README equation 5; of at least that length where not `ended` `(B,)`."""
        p, beyond = self.probabilities.double(), (length - self.within).clamp(min=0)
        at_least = p.flip(0).cumsum(0).flip(0)
        fits = torch.where(ended, p[length.clamp(max=self.within)], at_least[length.clamp(max=self.within)])
        # Where it does not fit, both are the last entry.
        longer = beyond * self._continuation.log() + torch.where(ended, (1 - self._continuation).log(), 0.0)
        return fits.log() + longer.where(length >= self.within, 0.0)

    def sample(self, least: Tensor, noise: Noise) -> Tensor:
        """Return lengths int64 `(B,)`, each at least `least` `(B,)`."""
        first, second = noise.uniform("length", (2,)).to(least.device).double().unbind(1)
        each = torch.arange(self.within + 1, device=least.device)
        p = self.probabilities.double().where((each >= least[:, None]) | (each == self.within), 0.0)
        length = draw(p, first)
        more = (second.log() / self._continuation.log()).clamp(max=_LONGEST).long()  # geometric: without memory
        return torch.where(length == self.within, least.clamp(min=self.within) + more, length)
