"""Items kept from training tell which averaged weights are best: a model that learns by heart gets worse on them."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..core.model import Batch
from ..nn.nd import autocast
from .loop import TrainState

_CHECKS = 20  # spread over the budget
_PRICE = 0.05  # of what training costs; an item costs a third of one that is trained on
_LEAST = 16  # fewer items tell nothing


def affordable(trained: float) -> int:
    """How many items to look at each time, where so many are trained on in all; 0 where they would be too few."""
    count = int(3 * _PRICE * trained / _CHECKS)
    return count if count >= _LEAST else 0


def due(state: TrainState) -> bool:
    """Whether it is time to look again."""
    return state.progress * _CHECKS >= state.checks + 1


def keep_best(state: TrainState, batches: Iterable[Batch], precision: str) -> float:
    """The loss of the averaged weights, which are kept where there were no better ones before."""
    model = state.model
    with state.average.applied():
        found = loss(state, batches, precision)
    state.checks = int(state.progress * _CHECKS)
    if found < state.best:
        state.best = found
        state.kept = {name: value.clone() for name, value in state.average.shadow.items()}
    model.train()
    return found


@torch.no_grad()
def loss(state: TrainState, batches: Iterable[Batch], precision: str) -> float:
    """The mean over batches, alike on all ranks and every time."""
    state.model.eval()
    torch.manual_seed(0)
    total, count = 0.0, 0
    for batch in batches:
        with autocast(precision, batch.x.device):
            total += float(state.model(batch).total) * len(batch.x)
        count += len(batch.x)
    return total / count


@torch.no_grad()
def take_best(state: TrainState) -> None:
    """At the end: the weights that were kept, where there are any."""
    for name, parameter in state.model.named_parameters():
        if name in state.kept:
            parameter.copy_(state.kept[name])
