"""Which items a training step sees: endless, shuffled anew each epoch, and a function of the step alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def batch_indices(*, seed: int, step: int, batch_size: int, count: int, rank: int = 0, ranks: int = 1) -> Tensor:
    """Return indices, int64 below `count`, of this rank's share of global batch `step`; resuming needs no state.

    The stream is one permutation of all items per epoch, one after the other, cut into batches of `batch_size` over
    all ranks; ranks take turns, so their shares are disjoint pieces of it and differ in size by one at most.
    """
    position = np.arange(step * batch_size + rank, (step + 1) * batch_size, ranks, dtype=np.int64)
    epochs, within = position // count, position % count
    indices = np.empty_like(position)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        indices[here] = _permutation(seed, int(epoch), count)[within[here]]
    return torch.from_numpy(indices)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, epoch], dtype=np.uint64))).permutation(
        count
    )
