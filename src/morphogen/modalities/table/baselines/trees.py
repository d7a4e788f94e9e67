"""Sequential trees: each column from a tree on the columns before it, as in synthpop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..statistics.arrow_columns import numbers_of
from ..units import is_numeric
from ._binned import Binned

_LEAF = 5  # least rows of a leaf
_CLASSES = 64  # bins of a column


def sequential_trees(table: Any, count: int, *, seed: int = 0) -> Any:
    """Return rows whose cells are sampled, column by column, among the real cells of the leaf of the cells before.

    Reiter (2005), Using CART to generate partially synthetic public use microdata; the default of synthpop. The cells
    are real ones: faithful, and no more private than the data.
    """
    import pyarrow as arrow
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    random = np.random.default_rng(seed)
    sampled: list[Any] = []
    real: list[NDArray[np.float64]] = []
    new: list[NDArray[np.float64]] = []
    for column in table.columns:
        if not sampled:
            cells = column.take(random.integers(0, len(table), count))
        else:
            numeric = is_numeric(column.type)
            binned = Binned(column, _CLASSES)
            settings = {"min_samples_leaf": _LEAF, "random_state": seed}
            tree = DecisionTreeRegressor(**settings) if numeric else DecisionTreeClassifier(**settings)
            target = np.nan_to_num(numbers_of(column)) if numeric else binned.codes
            inputs = np.stack(real, axis=1)
            leaves = tree.fit(inputs, target).apply(inputs)
            cells = column.take(_sample_leaves(leaves, tree.apply(np.stack(new, axis=1)), random))
        sampled.append(cells)
        values = _as_input(arrow.chunked_array([*column.chunks, *cells.chunks]))
        real.append(values[: len(table)])
        new.append(values[len(table) :])
    return arrow.table(sampled, schema=table.schema)


def _sample_leaves(
    leaves: NDArray[np.int64], wanted: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Return a random row of each wanted leaf."""
    order = np.argsort(leaves, kind="stable")
    begin, stop = (np.searchsorted(leaves[order], wanted, side=side) for side in ("left", "right"))
    rows: NDArray[np.int64] = order[begin + (random.random(len(wanted)) * (stop - begin)).astype(np.int64)]
    return rows


def _as_input(column: Any) -> NDArray[np.float64]:
    """Return numbers that a tree can split: categories by their rank of frequency; NaN where a number is missing."""
    if is_numeric(column.type):
        return numbers_of(column)
    words = np.array([str(value) for value in column.to_pylist()], dtype=object).astype(str)
    _, codes, counts = np.unique(words, return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-counts, kind="stable"))[codes].astype(np.float64)
