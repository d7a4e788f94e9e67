"""How long sequences are: a distribution of its own, counted from the items trained on. Equations: README.md."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...core.noise import Noise
from ...sampling.logits import draw

_UNSEEN = 0.01  # of an item: what all lengths together have before any was seen
_LONGEST = 2.0**40  # so that a length is a whole number of 64 bits


class Lengths(nn.Module):
    """The symbols between start and end: counted up to the `context`, less those two; beyond, they fall geometrically.

    Before `set`, all lengths within the context are as likely, and any beyond it together.
    """

    chances: Tensor
    excess: Tensor

    def __init__(self, context: int) -> None:
        super().__init__()
        self.within = max(1, context - 1)  # lengths that fit
        # Of each length that fits, and of all others together.
        self.register_buffer("chances", torch.full((self.within + 1,), 1 / (self.within + 1)))
        self.register_buffer("excess", torch.ones(()))  # by which those are longer on average than the first of them

    def set(self, counts: Tensor, excess: float) -> None:
        """`counts` `(within + 1,)` of items of each length, and of longer ones."""
        seen = counts.double() + _UNSEEN / len(counts)
        self.chances.copy_(seen / seen.sum())
        self.excess.fill_(excess)

    @property
    def _staying(self) -> Tensor:
        """The probability that a long item has one symbol more."""
        excess = self.excess.double()
        return excess / (1 + excess)

    def log_probability(self, length: Tensor, ended: Tensor) -> Tensor:
        """README, equation 5: nats `(B,)` of lengths int64 `(B,)`; of at least that length, where it is not `ended`."""
        chances, beyond = self.chances.double(), (length - self.within).clamp(min=0)
        at_least = chances.flip(0).cumsum(0).flip(0)
        fits = torch.where(ended, chances[length.clamp(max=self.within)], at_least[length.clamp(max=self.within)])
        # Where it does not fit, both are the last entry.
        longer = beyond * self._staying.log() + torch.where(ended, (1 - self._staying).log(), 0.0)
        return fits.log() + longer.where(length >= self.within, 0.0)

    def draw(self, least: Tensor, noise: Noise) -> Tensor:
        """Lengths int64 `(B,)`, each at least `least` `(B,)`."""
        first, second = noise.uniform("length", (2,)).to(least.device).double().unbind(1)
        each = torch.arange(self.within + 1, device=least.device)
        chances = self.chances.double().where((each >= least[:, None]) | (each == self.within), 0.0)
        length = draw(chances, first)
        more = (second.log() / self._staying.log()).clamp(max=_LONGEST).long()  # of a long one it has no memory
        return torch.where(length == self.within, least.clamp(min=self.within) + more, length)
