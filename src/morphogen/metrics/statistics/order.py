"""An order of feature vectors that only their content determines."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ODD = 0x9E3779B97F4A7C15


def digests(x: Tensor) -> NDArray[np.uint64]:
    """Return a hash of the bits of each vector, `(N,)`."""
    values = np.ascontiguousarray(x.numpy())
    bits = values.view(np.uint64 if values.dtype == np.float64 else np.uint32)
    odd = np.random.default_rng(0).integers(0, 2**63, (bits.shape[1], 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    total = np.zeros(len(bits), dtype=np.uint64)
    for column in range(bits.shape[1]):
        word = bits[:, column].astype(np.uint64)
        total += (word ^ (word >> np.uint64(32))) * odd[column]
    total = (total ^ (total >> np.uint64(29))) * np.uint64(_ODD)
    return total ^ (total >> np.uint64(32))


def content_order(features: Tensor) -> Tensor:
    """Return the indices that sort feature vectors `(N, d)` by a hash of their content, `(N,)`."""
    return torch.from_numpy(digests(features.double()).argsort(kind="stable"))
