"""Exact nearest neighbours of feature vectors, without all pairs in memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_QUERIES = 1024  # of a block
_EXACT = 64  # queries whose differences to all candidates fit into memory
_PAIRS = 1 << 25  # most pairs of a block


class Neighbours(NamedTuple):
    """Distances `(N, k)`, rising, and the indices `(N, k)` of the neighbours."""

    distances: Tensor
    indices: Tensor


def nearest_neighbours(x: Tensor, among: Tensor, k: int, *, own_index: Tensor | None = None) -> Neighbours:
    """Return the k nearest vectors of `among` `(M, d)` to each of `x` `(N, d)`, fewer where there are fewer.

    `own_index` `(N,)`: the index of each query itself in `among`, which is left out. Distances are recomputed from
    differences, so that the distance to a copy is exactly 0, and equal distances are ties.
    """
    x, among = x.double(), among.double()
    centre = among.mean(0)
    a, b = x - centre, among - centre
    k = min(k, len(b) - (own_index is not None))
    norms = torch.linalg.vecdot(b, b)
    distances, indices = [], []
    queries = max(1, min(_QUERIES, _PAIRS // max(1, len(b))))
    for start in range(0, len(a), queries):
        block = a[start : start + queries]
        squared = torch.linalg.vecdot(block, block)[:, None] + norms - 2 * block @ b.T
        if own_index is not None:
            squared.scatter_(1, own_index[start : start + queries, None], torch.inf)
        candidates = squared.topk(k, dim=1, largest=False).indices
        pairs = zip(candidates.split(_EXACT), x[start : start + queries].split(_EXACT), strict=True)
        exact = torch.cat([torch.linalg.vector_norm(among[index] - query[:, None], dim=-1) for index, query in pairs])
        order = exact.argsort(dim=1, stable=True)
        distances.append(exact.gather(1, order))
        indices.append(candidates.gather(1, order))
    empty = torch.empty(0, k)
    return Neighbours(torch.cat([empty.double(), *distances]), torch.cat([empty.long(), *indices]))
