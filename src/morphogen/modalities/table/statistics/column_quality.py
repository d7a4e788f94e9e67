"""Shape and Trend of two tables, as in the quality report of SDMetrics (MIT): 0 is disjoint, 1 is equal.

Independent columns have a perfect Shape and a good Trend: rank models by neither. The two-sample test finds them.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..units import is_numeric
from .arrow_columns import check_same_columns, codes_of, numbers_of

_BINS = 10  # of a number, against a category


def shape(real: Any, synthetic: Any) -> float:
    """Return the mean over columns of 1 - Kolmogorov-Smirnov distance (numbers) or 1 - total variation (categories)."""
    check_same_columns(real, synthetic)
    return float(np.mean([column_shape(real.column(name), synthetic.column(name)) for name in real.column_names]))


def trend(real: Any, synthetic: Any) -> float:
    """Return the mean over pairs of columns: numbers by their correlation, others by the shares of joint values.

    1 where no pair has a trend, such as in a table of one column.
    """
    return float(np.mean(list(pair_trends(real, synthetic).values()) or [1.0]))


def compare_columns(real: Any, synthetic: Any) -> dict[str, tuple[float, float | None]]:
    """Return for each column its shape, and the mean trend of its pairs; None where no pair has one."""
    trends = pair_trends(real, synthetic)
    own = {name: [value for pair, value in trends.items() if name in pair] for name in real.column_names}
    return {
        name: (
            column_shape(real.column(name), synthetic.column(name)),
            float(np.mean(own[name])) if own[name] else None,
        )
        for name in real.column_names
    }


def pair_trends(real: Any, synthetic: Any) -> dict[tuple[str, str], float]:
    """Return the trend of each pair of columns that has one."""
    check_same_columns(real, synthetic)
    numeric = {name for name in real.column_names if is_numeric(real.column(name).type)}
    numbers = {name: tuple(numbers_of(table.column(name)) for table in (real, synthetic)) for name in numeric}
    codes = {
        name: _binned(*numbers[name]) if name in numeric else codes_of(real.column(name), synthetic.column(name))
        for name in real.column_names
    }
    trends = {}
    for one, other in combinations(real.column_names, 2):
        if one in numeric and other in numeric:
            pair = [_correlation(numbers[one][side], numbers[other][side]) for side in (0, 1)]
            if not any(np.isnan(pair)):
                trends[one, other] = 1 - abs(pair[0] - pair[1]) / 2
        else:
            trends[one, other] = _contingency(codes[one], codes[other])
    return trends


def column_shape(real: Any, synthetic: Any) -> float:
    """Return the shape of one column; 1 where both have no values."""
    if is_numeric(real.type):
        a, b = (np.sort(one[~np.isnan(one)]) for one in (numbers_of(real), numbers_of(synthetic)))
        if not len(a) or not len(b):
            return float(len(a) == len(b))
        at = np.concatenate([a, b])
        below = [np.searchsorted(one, at, side="right") / len(one) for one in (a, b)]
        return 1 - float(np.abs(below[0] - below[1]).max())
    return 1 - _variation(*codes_of(real, synthetic))


def _variation(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Return the total variation between the shares of codes."""
    most = int(max(a.max(), b.max())) + 1
    return float(np.abs(np.bincount(a, minlength=most) / len(a) - np.bincount(b, minlength=most) / len(b)).sum() / 2)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    present = ~(np.isnan(a) | np.isnan(b))
    if present.sum() < 2 or a[present].std() == 0 or b[present].std() == 0:
        return float("nan")
    return float(np.corrcoef(a[present], b[present])[0, 1])


def _binned(real: NDArray[np.float64], synthetic: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bins of numbers, ten of equal width over the real values; missing values have one of their own."""
    edges = np.histogram_bin_edges(real[~np.isnan(real)], _BINS)[1:-1]
    return (
        np.where(np.isnan(real), _BINS, np.searchsorted(edges, np.nan_to_num(real), side="right")),
        np.where(np.isnan(synthetic), _BINS, np.searchsorted(edges, np.nan_to_num(synthetic), side="right")),
    )


def _contingency(one: tuple[Any, Any], other: tuple[Any, Any]) -> float:
    most = int(max(other[0].max(), other[1].max())) + 1
    joint = [a * most + b for a, b in zip(one, other, strict=True)]
    # Only combinations that occur: of two columns with many values millions do not.
    codes = np.unique(np.concatenate(joint), return_inverse=True)[1]
    return 1 - _variation(codes[: len(joint[0])], codes[len(joint[0]) :])
