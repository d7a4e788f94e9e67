"""A mixture of rows whose columns are independent: the latent class model, by expectation maximisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._binned import Binned

_BINS, _ROUNDS = 64, 60
_PRIOR = 0.05  # rows of each value that a component is taken to have seen, in the proportions of the column
_ROWS_A_COMPONENT, _MOST = 100, 200
_AT_ONCE = 8192


def mixture(table: Any, count: int, *, seed: int = 0) -> Any:
    """Rows of a mixture of up to 200 components, in each of which columns are independent.

    Numbers are in 64 parts of about equal mass, in which real cells are drawn. Lazarsfeld & Henry (1968); Dempster et
    al. (1977).
    """
    import pyarrow as arrow

    random = np.random.default_rng(seed)
    columns = [Binned(column, _BINS) for column in table.columns]
    components = int(np.clip(len(table) // _ROWS_A_COMPONENT, 1, _MOST))
    weights, chances = _fit(columns, components, random)
    drawn = random.choice(components, size=count, p=weights)
    made = []
    for column, p in zip(columns, chances, strict=True):
        cumulative = np.cumsum(p, axis=1)[drawn]
        codes = (random.random((count, 1)) * cumulative[:, -1:] >= cumulative).sum(1)
        made.append(column.cells(np.minimum(codes, column.count - 1), random))
    return arrow.table(made, schema=table.schema)


def _fit(
    columns: list[Binned], components: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """The weights of the components, and of each column the chances of its codes `(components, codes)`."""
    from scipy.sparse import csr_array
    from scipy.special import logsumexp

    rows, sizes = len(columns[0].codes), [column.count for column in columns]
    begins = np.cumsum([0, *sizes])
    code = np.stack([column.codes + begin for column, begin in zip(columns, begins, strict=False)], axis=1)
    ends = np.arange(rows + 1) * len(columns)
    found = csr_array((np.ones(code.size), code.ravel(), ends), shape=(rows, begins[-1]))
    often = found.sum(0) / rows
    prior = _PRIOR * np.repeat(sizes, sizes) * often
    # Each component begins around one row: it has a share of every code in it, and else what is usual.
    begun = random.choice(rows, components, replace=rows < components)
    chances = 0.7 * often + 0.3 * found[begun].toarray()
    weights = np.full(components, 1 / components)
    for _ in range(_ROUNDS):
        logs, total, mass = np.log(chances.T), np.zeros_like(chances), np.zeros(components)
        for begin in range(0, rows, _AT_ONCE):
            part = found[begin : begin + _AT_ONCE]
            joint = part @ logs + np.log(weights)
            share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
            mass += share.sum(0)
            total += (part.T @ share).T
        weights = (mass + 1e-3) / (mass + 1e-3).sum()
        chances = (total + prior) / (mass[:, None] + np.repeat(_PRIOR * np.array(sizes), sizes))
    return weights, np.split(chances, begins[1:-1], axis=1)
