"""Column after column, each by a tree of those before it: the method of synthpop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tables import is_number, numbers_of
from ._binned import Binned

_LEAF = 5  # rows that a leaf has at least
_CLASSES = 64  # of a number that a tree is to tell apart by


def sequential_trees(table: Any, count: int, *, seed: int = 0) -> Any:
    """Rows whose cells are drawn, column after column, among the real ones of the leaf that the cells before lead to.

    Reiter (2005), Using CART to generate partially synthetic public use microdata; the default of synthpop. The cells
    are real ones: near to the data, and no more private.
    """
    import pyarrow as arrow
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    random = np.random.default_rng(seed)
    made: list[Any] = []
    real: list[NDArray[np.float64]] = []
    new: list[NDArray[np.float64]] = []
    for column in table.columns:
        if not made:
            cells = column.take(random.integers(0, len(table), count))
        else:
            number = is_number(column.type)
            binned = Binned(column, _CLASSES)
            settings = {"min_samples_leaf": _LEAF, "random_state": seed}
            tree = DecisionTreeRegressor(**settings) if number else DecisionTreeClassifier(**settings)
            target = np.nan_to_num(numbers_of(column)) if number else binned.codes
            inputs = np.stack(real, axis=1)
            leaves = tree.fit(inputs, target).apply(inputs)
            cells = column.take(_drawn(leaves, tree.apply(np.stack(new, axis=1)), random))
        made.append(cells)
        values = _as_input(arrow.chunked_array([*column.chunks, *cells.chunks]))
        real.append(values[: len(table)])
        new.append(values[len(table) :])
    return arrow.table(made, schema=table.schema)


def _drawn(leaves: NDArray[np.int64], wanted: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """A row of each wanted leaf."""
    order = np.argsort(leaves, kind="stable")
    begin, stop = (np.searchsorted(leaves[order], wanted, side=side) for side in ("left", "right"))
    picked: NDArray[np.int64] = order[begin + (random.random(len(wanted)) * (stop - begin)).astype(np.int64)]
    return picked


def _as_input(column: Any) -> NDArray[np.float64]:
    """What a tree can split: numbers, and categories by how often they are found; NaN where a value is missing."""
    if is_number(column.type):
        return numbers_of(column)
    words = np.array([str(value) for value in column.to_pylist()], dtype=object).astype(str)
    _, codes, counts = np.unique(words, return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-counts, kind="stable"))[codes].astype(np.float64)
