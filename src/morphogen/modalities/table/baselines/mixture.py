"""A mixture of rows whose columns are independent: the latent class model, by expectation maximisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._binned import Binned

_BINS, _ROUNDS = 64, 60
_PRIOR = 0.05  # pseudo-rows of each value in each component, in the proportions of the column
_ROWS_A_COMPONENT, _MOST = 100, 200
_AT_ONCE = 8192


def mixture(table: Any, count: int, *, seed: int = 0) -> Any:
    """Return rows of a mixture of up to 200 components with independent columns.

    Numbers are in 64 quantile bins; cells are sampled among the real ones of a bin. Lazarsfeld & Henry (1968); Dempster
    et al. (1977).
    """
    import pyarrow as arrow

    random = np.random.default_rng(seed)
    columns = [Binned(column, _BINS) for column in table.columns]
    components = int(np.clip(len(table) // _ROWS_A_COMPONENT, 1, _MOST))
    weights, probabilities = _fit(columns, components, random)
    component = random.choice(components, size=count, p=weights)
    sampled = []
    for column, p in zip(columns, probabilities, strict=True):
        cumulative = np.cumsum(p, axis=1)[component]
        codes = (random.random((count, 1)) * cumulative[:, -1:] >= cumulative).sum(1)
        sampled.append(column.cells(np.minimum(codes, column.count - 1), random))
    return arrow.table(sampled, schema=table.schema)


def _fit(
    columns: list[Binned], components: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the weights of the components, and the probabilities of each column's codes `(components, codes)`."""
    from scipy.sparse import csr_array
    from scipy.special import logsumexp

    rows, sizes = len(columns[0].codes), [column.count for column in columns]
    begins = np.cumsum([0, *sizes])
    code = np.stack([column.codes + begin for column, begin in zip(columns, begins, strict=False)], axis=1)
    ends = np.arange(rows + 1) * len(columns)
    onehot = csr_array((np.ones(code.size), code.ravel(), ends), shape=(rows, begins[-1]))
    frequency = onehot.sum(0) / rows
    prior = _PRIOR * np.repeat(sizes, sizes) * frequency
    # Each component begins around one row: its codes, mixed with the frequencies of all rows.
    initial = random.choice(rows, components, replace=rows < components)
    probabilities = 0.7 * frequency + 0.3 * onehot[initial].toarray()
    weights = np.full(components, 1 / components)
    for _ in range(_ROUNDS):
        logs, total, mass = np.log(probabilities.T), np.zeros_like(probabilities), np.zeros(components)
        for begin in range(0, rows, _AT_ONCE):
            part = onehot[begin : begin + _AT_ONCE]
            joint = part @ logs + np.log(weights)
            share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
            mass += share.sum(0)
            total += (part.T @ share).T
        weights = (mass + 1e-3) / (mass + 1e-3).sum()
        probabilities = (total + prior) / (mass[:, None] + np.repeat(_PRIOR * np.array(sizes), sizes))
    return weights, np.split(probabilities, begins[1:-1], axis=1)
