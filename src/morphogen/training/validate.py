"""Early stopping: the validation loss decides which averaged weights are kept."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..core.model import Batch
from ..nn.nd import autocast
from .loop import TrainState

_VALIDATIONS = 20  # spread over the budget
_COST = 0.05  # of that of training; validating an item costs a third of training on it
_MIN_ITEMS = 16  # the loss of fewer says nothing


def affordable_items(trained: float) -> int:
    """Return how many items a validation may read where training reads `trained`; 0 where they would be too few."""
    count = int(3 * _COST * trained / _VALIDATIONS)
    return count if count >= _MIN_ITEMS else 0


def due(state: TrainState) -> bool:
    """Return whether it is time for the next validation."""
    return state.progress * _VALIDATIONS >= state.validations + 1


def keep_best(state: TrainState, batches: Iterable[Batch], precision: str) -> float:
    """Return the loss of the averaged weights, and keep them where it is the lowest so far."""
    with state.ema.applied():
        loss = validation_loss(state, batches, precision)
    state.validations = int(state.progress * _VALIDATIONS)
    if loss < state.best_loss:
        state.best_loss = loss
        state.best_weights = {name: value.clone() for name, value in state.ema.shadow.items()}
    state.model.train()
    return loss


@torch.no_grad()
def validation_loss(state: TrainState, batches: Iterable[Batch], precision: str) -> float:
    """Return the mean loss over batches, with the same random numbers every time and in all processes."""
    state.model.eval()
    torch.manual_seed(0)
    total, count = 0.0, 0
    for batch in batches:
        with autocast(precision, batch.x.device):
            total += float(state.model(batch).total) * len(batch.x)
        count += len(batch.x)
    return total / count


@torch.no_grad()
def restore_best(state: TrainState) -> None:
    """Give the model the weights that `keep_best` kept, where there are any."""
    for name, parameter in state.model.named_parameters():
        if name in state.best_weights:
            parameter.copy_(state.best_weights[name])
