"""How near generated rows are to real ones: by column, by pair of columns, to a classifier, and as training data.

Shape and Trend are those of the quality report of SDMetrics (MIT): 0 is nothing in common, 1 is alike. Independent
columns have a perfect Shape and a good Trend: rank by neither. The two-sample test tells them apart at once.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from morphogen.core.errors import UserError

from .chance import auc

_RESAMPLES = 50
_LEAST_OF_CLASS, _MOST_CLASSES = 10, 50  # rows, and classes
_BINS = 10  # of a number, against a category
_CATEGORIES = 254  # that the trees take; the others are one more


def shape(real: Any, synthetic: Any) -> float:
    """The mean over columns of 1 less the Kolmogorov-Smirnov distance, of categories less the total variation."""
    _check(real, synthetic)
    return float(np.mean([_alike(real.column(name), synthetic.column(name)) for name in real.column_names]))


def trend(real: Any, synthetic: Any) -> float:
    """The mean over pairs: numbers by their correlation, others by the shares of their joint values."""
    return float(np.mean(list(_pairs(real, synthetic).values())))


def columns(real: Any, synthetic: Any) -> dict[str, tuple[float, float | None]]:
    """Of each column its shape, and the mean trend of its pairs; None where it has none to be told."""
    found = _pairs(real, synthetic)
    own = {name: [value for pair, value in found.items() if name in pair] for name in real.column_names}
    return {
        name: (_alike(real.column(name), synthetic.column(name)), float(np.mean(own[name])) if own[name] else None)
        for name in real.column_names
    }


def _pairs(real: Any, synthetic: Any) -> dict[tuple[str, str], float]:
    """The trend of each pair of columns that has one."""
    _check(real, synthetic)
    numeric = {name for name in real.column_names if is_number(real.column(name).type)}
    numbers = {name: tuple(numbers_of(table.column(name)) for table in (real, synthetic)) for name in numeric}
    codes = {
        name: _binned(*numbers[name]) if name in numeric else _codes(real.column(name), synthetic.column(name))
        for name in real.column_names
    }
    found = {}
    for one, other in combinations(real.column_names, 2):
        if one in numeric and other in numeric:
            pair = [_correlation(numbers[one][side], numbers[other][side]) for side in (0, 1)]
            if not any(np.isnan(pair)):
                found[one, other] = 1 - abs(pair[0] - pair[1]) / 2
        else:
            found[one, other] = _contingency(codes[one], codes[other])
    return found


def two_sample(real: Any, synthetic: Any, *, seed: int = 0, folds: int = 5) -> float:
    """The AUC of boosted trees that tell synthetic rows from real ones, of equal numbers, cross-validated.

    Half is as good as it gets; a little less where rows are found twice. Histogram gradient boosting of scikit-learn,
    at its defaults (Lopez-Paz & Oquab, arXiv 1610.06545).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    _check(real, synthetic)
    (a, b), categories = _matrices(real, synthetic)
    count, random = min(len(a), len(b)), np.random.default_rng(seed)
    x = np.concatenate([a[random.permutation(len(a))[:count]], b[random.permutation(len(b))[:count]]])
    y = np.repeat([0, 1], count)
    scores = np.empty(2 * count)
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y):
        trees = HistGradientBoostingClassifier(categorical_features=categories, random_state=seed).fit(
            x[train], y[train]
        )
        scores[test] = trees.predict_proba(x[test])[:, 1]
    return float(roc_auc_score(y, scores))


def utility(train: Any, test: Any, target: str, *, seed: int = 0) -> tuple[float, float]:
    """How well boosted trees that learn from `train` predict a column of `test`, and the standard error of that.

    Of classes the mean over those of `test` of the area under the curve of each against all others, half of one that
    there is none of to learn from; of numbers R². The error is that of other rows to test on. Rows whose target is
    missing are left out, and classes of fewer than 10 rows of `test`. Raises UserError on fewer than two classes, or
    more than 50.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    _check(train, test)
    (a, b), categories = _matrices(train, test)
    at = train.column_names.index(target)
    a, b = (one[~np.isnan(one[:, at])] for one in (a, b))
    if min(len(a), len(b)) < 2:
        raise UserError(f"column '{target}' is missing in nearly all rows; choose another one")
    inputs, kinds = [np.delete(one, at, 1) for one in (a, b)], np.delete(categories, at)
    y = b[:, at]
    if not categories[at]:
        trees = HistGradientBoostingRegressor(categorical_features=kinds, random_state=seed).fit(inputs[0], a[:, at])
        told = trees.predict(inputs[1])
        return _with_error(lambda rows: float(r2_score(y[rows], told[rows])), len(y), seed)
    names, counts = np.unique(y, return_counts=True)
    names = names[counts >= _LEAST_OF_CLASS]
    if not 2 <= len(names) <= _MOST_CLASSES:
        raise UserError(
            f"column '{target}' has {len(names)} classes of at least {_LEAST_OF_CLASS} rows to test on; expected 2 to "
            f"{_MOST_CLASSES}"
        )
    learned, counts = np.unique(a[:, at], return_counts=True)
    learned = learned[counts >= 2]  # with fewer the trees cannot stop early
    scores = torch.zeros(len(y), len(names), dtype=torch.float64)
    if len(learned) >= 2:
        kept = np.isin(a[:, at], learned)
        trees = HistGradientBoostingClassifier(categorical_features=kinds, random_state=seed)
        told = trees.fit(inputs[0][kept], a[kept, at]).predict_proba(inputs[1])
        for column, name in enumerate(names):
            if name in learned:
                scores[:, column] = torch.from_numpy(told[:, np.searchsorted(learned, name)])

    def areas(rows: NDArray[np.int64]) -> float:
        found = []
        for column, name in zip(scores[torch.from_numpy(rows)].T, names, strict=True):
            of_it = torch.from_numpy(y[rows] == name)
            if of_it.any() and not of_it.all():
                found.append(auc(column[of_it], column[~of_it])[0])
        return float(np.mean(found)) if found else 0.5

    return _with_error(areas, len(y), seed)


def _with_error(figure: Callable[[NDArray[np.int64]], float], count: int, seed: int) -> tuple[float, float]:
    """A figure of all rows, and its standard error by a bootstrap."""
    random = np.random.default_rng(seed)
    drawn = [figure(random.integers(0, count, count)) for _ in range(_RESAMPLES)]
    return figure(np.arange(count)), float(np.std(drawn, ddof=1))


def _check(real: Any, synthetic: Any) -> None:
    if real.column_names != synthetic.column_names:
        raise UserError(
            f"the tables have the columns {', '.join(real.column_names)} and {', '.join(synthetic.column_names)}; "
            "compare tables of the same"
        )


def is_number(kind: Any) -> bool:
    """Whether cells of that type have an order and a distance: numbers, and dates."""
    import pyarrow.types as types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_temporal(kind)


def numbers_of(column: Any) -> NDArray[np.float64]:
    """A column of numbers or dates; NaN where a value is missing."""
    import pyarrow as arrow
    import pyarrow.types as types

    if types.is_temporal(column.type):
        short = types.is_date32(column.type) or types.is_time32(column.type)
        column = column.cast(arrow.int32() if short else arrow.int64())
    return column.cast(arrow.float64(), safe=False).to_numpy().astype(np.float64)


def _codes(real: Any, synthetic: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for each value that either has, missing being one; the most frequent first."""
    both = [str(value) for column in (real, synthetic) for value in column.to_pylist()]
    values, codes, counts = np.unique(np.array(both, dtype=object).astype(str), return_inverse=True, return_counts=True)
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(values))
    return rank[codes[: len(real)]], rank[codes[len(real) :]]


def _alike(real: Any, synthetic: Any) -> float:
    if is_number(real.type):
        a, b = (np.sort(one[~np.isnan(one)]) for one in (numbers_of(real), numbers_of(synthetic)))
        if not len(a) or not len(b):
            return float(len(a) == len(b))
        at = np.concatenate([a, b])
        below = [np.searchsorted(one, at, side="right") / len(one) for one in (a, b)]
        return 1 - float(np.abs(below[0] - below[1]).max())
    return 1 - _variation(*_codes(real, synthetic))


def _variation(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """The total variation between the shares of codes."""
    most = int(max(a.max(), b.max())) + 1
    return float(np.abs(np.bincount(a, minlength=most) / len(a) - np.bincount(b, minlength=most) / len(b)).sum() / 2)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    there = ~(np.isnan(a) | np.isnan(b))
    if there.sum() < 2 or a[there].std() == 0 or b[there].std() == 0:
        return float("nan")
    return float(np.corrcoef(a[there], b[there])[0, 1])


def _binned(real: NDArray[np.float64], synthetic: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ten bins of equal width over the real values, what is missing by itself."""
    there = real[~np.isnan(real)]
    edges = np.histogram_bin_edges(there, _BINS)[1:-1]
    return (
        np.where(np.isnan(real), _BINS, np.searchsorted(edges, np.nan_to_num(real), side="right")),
        np.where(np.isnan(synthetic), _BINS, np.searchsorted(edges, np.nan_to_num(synthetic), side="right")),
    )


def _contingency(one: tuple[Any, Any], other: tuple[Any, Any]) -> float:
    most = int(max(other[0].max(), other[1].max())) + 1
    joint = [a * most + b for a, b in zip(one, other, strict=True)]
    # Only combinations that are there: of two columns of many values there are millions that are not.
    codes = np.unique(np.concatenate(joint), return_inverse=True)[1]
    return 1 - _variation(codes[: len(joint[0])], codes[len(joint[0]) :])


def _matrices(*tables: Any) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_]]:
    """Columns as trees take them: numbers, and categories as codes; and which are categories."""
    names = tables[0].column_names
    categories = np.array([not is_number(tables[0].column(name).type) for name in names])
    columns: list[list[NDArray[np.float64]]] = [[], []]
    for name, category in zip(names, categories, strict=True):
        if category:
            pair = [
                np.minimum(codes, _CATEGORIES).astype(np.float64)
                for codes in _codes(*(table.column(name) for table in tables))
            ]
            gone = [np.asarray(table.column(name).is_null().to_numpy()) for table in tables]
            pair = [np.where(missing, np.nan, codes) for codes, missing in zip(pair, gone, strict=True)]
        else:
            pair = [numbers_of(table.column(name)) for table in tables]
        for side, column in zip(columns, pair, strict=True):
            side.append(column)
    return [np.stack(side, axis=1) for side in columns], categories
