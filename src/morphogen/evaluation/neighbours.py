"""The nearest items among others, by their features, without all pairs in memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS, _EXACT = 1024, 64  # rows of a block
_PAIRS = 1 << 25  # of a block, at most


class Neighbours(NamedTuple):
    """Distances `(N, k)`, rising, and the indices `(N, k)` of the items they lead to."""

    distances: Tensor
    indices: Tensor


def nearest(x: Tensor, among: Tensor, k: int, *, itself: Tensor | None = None) -> Neighbours:
    """The k nearest rows of `among` `(M, d)` to each of `x` `(N, d)`; `itself` `(N,)` is which of them x is, if any.

    k is cut to what there is. Distances are computed anew from the differences, so that of a copy it is 0, and equal
    ones are ties.
    """
    x, among = x.double(), among.double()
    centre = among.mean(0)
    a, b = x - centre, among - centre
    k = min(k, len(b) - (itself is not None))
    norms = torch.linalg.vecdot(b, b)
    distances, indices = [], []
    rows = max(1, min(_ROWS, _PAIRS // max(1, len(b))))
    for start in range(0, len(a), rows):
        block = a[start : start + rows]
        apart = torch.linalg.vecdot(block, block)[:, None] + norms - 2 * block @ b.T
        if itself is not None:
            apart.scatter_(1, itself[start : start + rows, None], torch.inf)
        found = apart.topk(k, dim=1, largest=False).indices
        few = zip(found.split(_EXACT), x[start : start + rows].split(_EXACT), strict=True)  # that fit into memory
        exact = torch.cat([torch.linalg.vector_norm(among[some] - one[:, None], dim=-1) for some, one in few])
        order = exact.argsort(dim=1, stable=True)
        distances.append(exact.gather(1, order))
        indices.append(found.gather(1, order))
    empty = torch.empty(0, k)
    return Neighbours(torch.cat([empty.double(), *distances]), torch.cat([empty.long(), *indices]))
