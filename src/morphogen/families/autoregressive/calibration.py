"""Calibration of the n-gram mixture on validation items: on training items the network is too sure of itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .ngram import NetworkPrediction, NGramCounts, NGramMixture

_ROUNDS, _STEPS = 12, 5  # evaluations on the other half, and steps of Adam before each
_RATE, _MATRIX_RATE = 0.05, 0.003


class MixtureInputs(NamedTuple):
    """What the mixture reads for each of N tokens."""

    network: NetworkPrediction
    ends: Tensor  # (N,) whether the token is the end of its item
    ngrams: NGramCounts

    @staticmethod
    def concatenate(parts: Sequence[MixtureInputs]) -> MixtureInputs:
        network, ends, ngrams = zip(*parts, strict=True)
        return MixtureInputs(
            NetworkPrediction(*map(torch.cat, zip(*network, strict=True))),
            torch.cat(ends),
            NGramCounts(*map(torch.cat, zip(*ngrams, strict=True))),
        )

    def select(self, mask: Tensor) -> MixtureInputs:
        """Return the inputs of the tokens in a mask over all token axes, as one axis."""
        return MixtureInputs(
            NetworkPrediction(*(value[mask] for value in self.network)),
            self.ends[mask],
            NGramCounts(*(value[mask] for value in self.ngrams)),
        )


@torch.no_grad()
def calibrate(mixture: NGramMixture, inputs: MixtureInputs, first: Tensor) -> None:
    """Fit the mixture weights and discounts to tokens that nothing was fitted to before.

    The number of steps is chosen by cross-validation between two halves, one of which is bool `first` `(N,)`.
    """
    tuned = [mixture.head.weight, mixture.head.bias, mixture.discount]
    initial = [parameter.clone() for parameter in tuned]
    held_out_nats = [0.0] * (_ROUNDS + 1)
    for half in (first, ~first):
        other = inputs.select(~half)
        held_out_nats[0] += float(mixture.nats(*other).sum())
        for done, _ in enumerate(_fit(mixture, inputs.select(half)), start=1):
            held_out_nats[done] += float(mixture.nats(*other).sum())
        for parameter, value in zip(tuned, initial, strict=True):
            parameter.copy_(value)
    for _ in itertools.islice(_fit(mixture, inputs), held_out_nats.index(min(held_out_nats))):
        pass


def _fit(mixture: NGramMixture, inputs: MixtureInputs) -> Iterator[None]:
    """Fit to the inputs; yield after each round."""
    optimizer = torch.optim.Adam(
        [
            {"params": [mixture.head.bias, mixture.discount], "lr": _RATE},
            {"params": [mixture.head.weight], "lr": _MATRIX_RATE},
        ]
    )
    for _ in range(_ROUNDS):
        for _ in range(_STEPS):
            with torch.enable_grad():
                mixture.nats(*inputs).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        yield
