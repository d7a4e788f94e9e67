"""How far to trust counts, settled on texts kept from training: those it was trained on the network knows too well."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .counts import Counts, Tally

_LOOKS, _STEPS = 12, 5  # times that the other half is looked at, and steps of Adam before each
_RATE, _RATE_OF_MATRIX = 0.05, 0.003


class Parts(NamedTuple):
    """What the mixture is made of, of each of N symbols."""

    hidden: Tensor  # (N, width)
    own: Tensor  # (N,) the network's −ln p
    tally: Tally

    @staticmethod
    def joined(several: Sequence[Parts]) -> Parts:
        """All their symbols."""
        hidden, own, tallies = zip(*several, strict=True)
        return Parts(torch.cat(hidden), torch.cat(own), Tally(*map(torch.cat, zip(*tallies, strict=True))))

    def select(self, chosen: Tensor) -> Parts:
        """Those `chosen`, bool over all axes of symbols, in a row."""
        return Parts(self.hidden[chosen], self.own[chosen], Tally(*(one[chosen] for one in self.tally)))


@torch.no_grad()
def calibrate(counts: Counts, parts: Parts, first: Tensor) -> None:
    """Fits the shares and the discounts to symbols that nothing was fitted to before.

    As many steps as do best crosswise, on the one half after those on the other; bool `first` `(N,)` is one of them.
    """
    tuned = [counts.head.weight, counts.head.bias, counts.discount]
    begun = [parameter.clone() for parameter in tuned]
    crosswise = [0.0] * (_LOOKS + 1)
    for half in (first, ~first):
        other = parts.select(~half)
        crosswise[0] += float(counts.nats(*other).sum())
        for look, _ in enumerate(_fitting(counts, parts.select(half)), start=1):
            crosswise[look] += float(counts.nats(*other).sum())
        for parameter, value in zip(tuned, begun, strict=True):
            parameter.copy_(value)
    for _ in itertools.islice(_fitting(counts, parts), crosswise.index(min(crosswise))):
        pass


def _fitting(counts: Counts, parts: Parts) -> Iterator[None]:
    optimizer = torch.optim.Adam(
        [
            {"params": [counts.head.bias, counts.discount], "lr": _RATE},
            {"params": [counts.head.weight], "lr": _RATE_OF_MATRIX},
        ]
    )
    for _ in range(_LOOKS):
        for _ in range(_STEPS):
            with torch.enable_grad():
                counts.nats(*parts).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        yield
