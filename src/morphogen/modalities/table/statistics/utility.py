"""Utility: how well boosted trees trained on one table predict a column of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from morphogen.core.errors import UserError
from morphogen.metrics.statistics.intervals import auc

from .arrow_columns import check_same_columns, matrices_of

_RESAMPLES = 50
_LEAST_OF_CLASS, _MOST_CLASSES = 10, 50  # rows, and classes


def utility(train: Any, test: Any, target: str, *, seed: int = 0) -> tuple[float, float]:
    """Return how well boosted trees fitted to `train` predict a column of `test`, and the standard error of that.

    For classes the mean one-vs-rest AUC over the classes of `test`, where a class with fewer than two training rows
    counts .5; for numbers R². The error is a bootstrap over test rows. Rows without a target are left out, and classes
    of fewer than 10 rows of `test`. Raises UserError on fewer than two classes, or more than 50.
    """
    check_same_columns(train, test)
    (a, b), categories = matrices_of(train, test)
    at = train.column_names.index(target)
    a, b = (one[~np.isnan(one[:, at])] for one in (a, b))
    if min(len(a), len(b)) < 2:
        raise UserError(f"column '{target}' is missing in nearly all rows; choose another --target")
    inputs, kinds = [np.delete(one, at, 1) for one in (a, b)], np.delete(categories, at)
    if categories[at]:
        return _classes(inputs, (a[:, at], b[:, at]), kinds, target, seed)
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    trees = HistGradientBoostingRegressor(categorical_features=kinds, random_state=seed).fit(inputs[0], a[:, at])
    y, predicted = b[:, at], trees.predict(inputs[1])
    return _with_error(lambda rows: float(r2_score(y[rows], predicted[rows])), len(y), seed)


def _classes(
    inputs: list[NDArray[np.float64]],
    targets: tuple[NDArray[np.float64], NDArray[np.float64]],
    kinds: NDArray[np.bool_],
    target: str,
    seed: int,
) -> tuple[float, float]:
    """Return the utility of a column of classes; `inputs` and `targets` of the training and of the test rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    train, y = targets
    names, counts = np.unique(y, return_counts=True)
    names = names[counts >= _LEAST_OF_CLASS]
    if not 2 <= len(names) <= _MOST_CLASSES:
        raise UserError(
            f"column '{target}' has {len(names)} classes of at least {_LEAST_OF_CLASS} rows to test on; expected 2 to "
            f"{_MOST_CLASSES}"
        )
    learned, counts = np.unique(train, return_counts=True)
    learned = learned[counts >= 2]  # with fewer rows early stopping of the trees fails
    scores = torch.zeros(len(y), len(names), dtype=torch.float64)
    if len(learned) >= 2:
        usable = np.isin(train, learned)
        trees = HistGradientBoostingClassifier(categorical_features=kinds, random_state=seed)
        predicted = trees.fit(inputs[0][usable], train[usable]).predict_proba(inputs[1])
        for column, name in enumerate(names):
            if name in learned:
                scores[:, column] = torch.from_numpy(predicted[:, np.searchsorted(learned, name)])

    def mean_auc(rows: NDArray[np.int64]) -> float:
        areas = []
        for column, name in zip(scores[torch.from_numpy(rows)].T, names, strict=True):
            positive = torch.from_numpy(y[rows] == name)
            if positive.any() and not positive.all():
                areas.append(auc(column[positive], column[~positive])[0])
        return float(np.mean(areas)) if areas else 0.5

    return _with_error(mean_auc, len(y), seed)


def _with_error(figure: Callable[[NDArray[np.int64]], float], count: int, seed: int) -> tuple[float, float]:
    """Return a figure of all test rows, and its standard error by a bootstrap."""
    random = np.random.default_rng(seed)
    resampled = [figure(random.integers(0, count, count)) for _ in range(_RESAMPLES)]
    return figure(np.arange(count)), float(np.std(resampled, ddof=1))
