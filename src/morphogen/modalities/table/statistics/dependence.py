"""Do pairs of columns depend on each other in generated rows as they do in real ones, in whatever form?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphogen.metrics.statistics.intervals import SIGNIFICANT, fisher_exact, share_interval

from ..units import is_numeric
from .arrow_columns import check_same_columns, codes_of, numbers_of
from .date_differences import above, are_moments, moments

_MOST_BINS, _ROWS_PER_CELL = 8, 8
_MOST_COLUMNS = 60  # 1,770 pairs
_ROUNDS = 50  # of iterative proportional fitting
SMALL = 0.1  # Cohen's w
_NEVER, _OFTEN, _BY_CHANCE = 0.001, 0.005, 0.02  # shares of rows in the wrong order

Codes = NDArray[np.int64]


class PairDependence(NamedTuple):
    """The dependence of two columns in both tables, Cramér's V, and how much both dependences differ, Cohen's w."""

    first: str
    second: str
    real: float
    synthetic: float
    difference: float
    p: float


class BrokenOrder(NamedTuple):
    """Two columns of numbers of which the first is never above the second in real rows, but in generated ones."""

    low: str
    high: str
    share: float  # of generated rows
    real_share: float


def compare_dependences(real: Any, synthetic: Any) -> list[PairDependence]:
    """Return the dependences of all pairs of columns in two tables, of at most 60 columns.

    Numbers are cut at quantiles of the real ones, rare categories are one. The test is that of no three-way interaction
    between table, column and column (a likelihood ratio, Fienberg 1970), so that it does not see single columns.
    """
    check_same_columns(real, synthetic)
    most = int(np.clip((min(len(real), len(synthetic)) / _ROWS_PER_CELL) ** 0.5, 2, _MOST_BINS))
    names = real.column_names[:_MOST_COLUMNS]
    codes = {name: _codes(real.column(name), synthetic.column(name), most) for name in names}
    varied = [name for name in names if all(len(np.unique(side)) > 1 for side in codes[name])]
    return [_compare(one, other, codes[one], codes[other]) for one, other in combinations(varied, 2)]


def differs(pair: PairDependence, pairs: int) -> bool:
    """Return whether both dependences differ significantly among so many pairs, and by more than little."""
    return pair.p < SIGNIFICANT / max(1, pairs) and pair.difference > SMALL


def broken_orders(real: Any, synthetic: Any) -> list[BrokenOrder]:
    """Return the pairs of numbers whose order holds in real rows, not by chance, and is broken in synthetic ones."""
    check_same_columns(real, synthetic)
    names = [name for name in real.column_names if is_numeric(real.column(name).type)][:_MOST_COLUMNS]
    numbers = [{name: numbers_of(side.column(name)) for name in names} for side in (real, synthetic)]
    tests, broken = 0, []
    for one, other in combinations(names, 2):
        pairs = [_comparable(side, one, other, own) for side, own in zip((real, synthetic), numbers, strict=True)]
        if not all(len(a) for a, _ in pairs):
            continue
        for low, high, ((a, b), (x, y)) in ((one, other, pairs), (other, one, [pair[::-1] for pair in pairs])):
            hits, chance = above(a, b)
            tests += chance >= _BY_CHANCE
            if hits <= _NEVER * len(a) and chance >= _BY_CHANCE:
                made, _ = above(x, y)
                often = share_interval(made, len(x))[0] > _OFTEN
                p = fisher_exact(made, len(x), hits, len(a)) if often else 1.0
                broken.append((p, BrokenOrder(low, high, made / len(x), hits / len(a))))
    return sorted((one for p, one in broken if p < SIGNIFICANT / max(1, tests)), key=lambda one: -one.share)


def _comparable(
    table: Any, one: str, other: str, numbers: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the values of two columns where both have one; none where they have no common scale."""
    import pyarrow.types as types

    columns = table.column(one), table.column(other)
    kinds = [column.type for column in columns]
    if kinds[0] == kinds[1] or not any(map(types.is_temporal, kinds)):
        a, b = numbers[one], numbers[other]
        present = ~(np.isnan(a) | np.isnan(b))
        return a[present], b[present]
    if not are_moments(*kinds):
        return np.empty(0), np.empty(0)
    pair = moments(*columns)
    return pair.first[~pair.missing], pair.second[~pair.missing]


def _codes(real: Any, synthetic: Any, most: int) -> tuple[Codes, Codes]:
    """Return two columns as at most `most` codes; missing values have one more."""
    if is_numeric(real.type):
        a, b = numbers_of(real), numbers_of(synthetic)
        known = a[~np.isnan(a)]
        values = np.unique(known)
        # Few different values are each a code of their own.
        edges = values[1:] if len(values) <= most else np.unique(np.quantile(known, np.arange(1, most) / most))
        return tuple(np.where(np.isnan(x), most, np.searchsorted(edges, np.nan_to_num(x), "right")) for x in (a, b))  # type: ignore[return-value]
    one, other = codes_of(real, synthetic)
    return np.minimum(one, most - 1), np.minimum(other, most - 1)


def _compare(first: str, second: str, a: tuple[Codes, Codes], b: tuple[Codes, Codes]) -> PairDependence:
    from scipy.stats import chi2

    rows, columns = (int(max(one[0].max(), one[1].max())) + 1 for one in (a, b))
    counts = np.stack(
        [
            np.bincount(x * columns + y, minlength=rows * columns).reshape(rows, columns)
            for x, y in zip(a, b, strict=True)
        ]
    ).astype(np.float64)
    counts = counts[:, counts.sum((0, 2)) > 0][:, :, counts.sum((0, 1)) > 0]
    expected = _without_interaction(counts)
    # Cells that can hold nothing, given what the margins hold, are no degrees of freedom.
    cells = expected > 1e-9
    statistic = float(2 * (counts[cells] * np.log(np.maximum(counts[cells], 1e-300) / expected[cells])).sum())
    free = max(1, int(cells.all(0).sum()) - counts.shape[1] - counts.shape[2] + 1)
    smaller = float(counts.sum((1, 2)).min())
    # N items of each of two tables: the effect is that of the smaller one.
    difference = max(0.0, (statistic - free) / (2 * smaller)) ** 0.5
    p = float(chi2.sf(statistic, free))
    return PairDependence(first, second, _cramers_v(counts[0]), _cramers_v(counts[1]), difference, p)


def _without_interaction(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected counts, `(2, I, J)`, where both tables depend alike, by iterative proportional fitting."""
    expected = np.ones_like(counts)
    for _ in range(_ROUNDS):
        for axis in (0, 1, 2):
            own = expected.sum(axis, keepdims=True)
            expected = expected * np.divide(counts.sum(axis, keepdims=True), own, out=np.zeros_like(own), where=own > 0)
    return expected


def _cramers_v(counts: NDArray[np.float64]) -> float:
    """Return Cramér's V without its bias (Bergsma 2013)."""
    total = counts.sum()
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    rows, columns = counts.shape
    if min(rows, columns) < 2 or total < 2:
        return 0.0
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / total
    square = float(((counts - expected) ** 2 / expected).sum() / total)
    square = max(0.0, square - (rows - 1) * (columns - 1) / (total - 1))
    sizes = [size - (size - 1) ** 2 / (total - 1) for size in (rows, columns)]
    return float(min(1.0, square / max(1e-9, min(sizes) - 1)) ** 0.5)
