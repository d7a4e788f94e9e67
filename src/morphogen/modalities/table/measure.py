"""Figures of rows alone: by column, by pair of columns, and as training data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from morphogen.core.errors import UserError
from morphogen.core.judge import Comparison
from morphogen.core.results import Check, ColumnResult, Distribution, Figure, Results
from morphogen.metrics.statistics.histogram import histogram
from morphogen.metrics.statistics.intervals import halves

from .comparable import LEAST, Tables, tables_of
from .measure_pairs import DEPENDENCES, ORDERS, measure_pairs
from .statistics.arrow_columns import label_of, numbers_of
from .statistics.column_quality import compare_columns
from .statistics.utility import utility
from .units import is_numeric

LEAST_TAUGHT = 20  # rows, to learn from and to test on
_MOST_HALVED = 4_000  # rows of which halves are drawn for intervals
_DRAWS = 10
_CATEGORIES, _RARE, _OTHERS = 20, 5, "(others)"  # bars of a chart; real rows, below which a category is not named
_LOSS = 0.02  # of Shape or Trend below that of real data, from which on a column is named
_Columns = dict[str, tuple[float, float | None]]  # shape and trend by name
_UTILITY = ("train on synthetic, test on real", "train on real, test on synthetic")
_MEANINGS = {
    "shape": "Similarity of single columns, on average; independent columns get as much: rank no models by it.",
    "trend": "Similarity of the dependence between pairs of columns, on average.",
}


def measure(comparison: Comparison[Any], results: Results) -> None:
    """Add Shape and Trend, the columns and pairs that differ, and utility."""
    tables, seed = tables_of(comparison), comparison.seed
    sizes = len(tables.real), len(tables.generated)
    if min(sizes) < LEAST:
        reason = f"needs at least {LEAST} held-out and generated rows; found {sizes[0]} and {sizes[1]}"
        results.skip(reason, "Shape", "Trend", DEPENDENCES, ORDERS)
    else:
        generated_columns, train_columns = _compare(tables.real, tables.generated), _compare(tables.real, tables.train)
        _shape_and_trend(tables, generated_columns, train_columns, results, seed)
        _column_results(tables, generated_columns, train_columns, results)
        if tables.differences_left_out:
            results.skip(
                f"of the pairs of dates of which one follows the other, only the {len(tables.differences)} closest "
                "are compared",
                f"{tables.differences_left_out} differences of dates",
            )
        measure_pairs(tables, results)
    _utility(tables_of(comparison, LEAST_TAUGHT), results, comparison.target, seed)


def _compare(real: Any, other: Any | None) -> _Columns:
    return compare_columns(real, other) if other is not None else {}


def _shape_and_trend(
    tables: Tables, generated_columns: _Columns, train_columns: _Columns, results: Results, seed: int
) -> None:
    real, generated = tables.real, tables.generated
    halved = [table.slice(0, _MOST_HALVED) for table in (real, generated)]
    rows = [torch.arange(len(table)) for table in halved]

    def figures(a: Any, b: Any) -> dict[str, float]:
        parts = [table.take(index.numpy()) for table, index in zip(halved, (a, b), strict=True)]
        return _means(compare_columns(*parts))

    errors = halves(figures, rows[0], rows[1], draws=_DRAWS, seed=seed)
    real_values, baselines = _means(train_columns), _means(_compare(real, tables.baseline))
    for key, value in _means(generated_columns).items():
        error = errors[key] * (len(halved[0]) / len(real)) ** 0.5
        results.figures.append(
            Figure(
                name=key.capitalize(),
                key=key,
                group="fidelity",
                value=value,
                low=value - 1.96 * error,
                high=min(1.0, value + 1.96 * error),
                real_data=real_values.get(key),
                baseline=baselines.get(key),
                better="higher",
                real=len(real),
                generated=len(generated),
                seed=seed,
                meaning=_MEANINGS[key],
            )
        )


def _means(columns: _Columns) -> dict[str, float]:
    if not columns:
        return {}
    means = {"shape": float(np.mean([shape for shape, _ in columns.values()]))}
    trends = [trend for _, trend in columns.values() if trend is not None]
    return means | ({"trend": float(np.mean(trends))} if trends else {})


def _column_results(tables: Tables, generated_columns: _Columns, train_columns: _Columns, results: Results) -> None:
    """Add the result of each column, and name those that are worse than in real data."""
    real, generated = tables.real, tables.generated
    margin = _LOSS + 2 / min(len(real), len(generated)) ** 0.5
    losses = []
    for name, (shape, trend) in generated_columns.items():
        shape_real, trend_real = train_columns.get(name, (None, None))
        results.columns.append(
            ColumnResult(name=name, shape=shape, trend=trend, shape_real_data=shape_real, trend_real_data=trend_real)
        )
        if shape_real is not None:
            loss = max(shape_real - shape, (trend_real or 0) - trend if trend is not None else 0.0)
            if loss > margin:
                losses.append((loss, name))
        results.distributions.append(_distribution(name, real.column(name), generated.column(name)))
    if tables.train is None:
        reason = f"fewer than {LEAST} training rows can be read, so there is no value of real data"
        results.skip(reason, "columns that differ")
        return
    worst = [name for _, name in sorted(losses, reverse=True)]
    results.checks.append(
        Check(
            name="columns that differ",
            detected=bool(worst),
            fault=False,
            message=f"{len(worst)} of {len(results.columns)} columns have another distribution, or another dependence "
            "on other columns, than in real rows" + (f": {', '.join(worst[:5])}." if worst else "."),
        )
    )


def _distribution(name: str, real: Any, generated: Any) -> Distribution:
    """Return numbers and dates in bins, and categories by falling frequency; rare ones, which may be names, are one."""
    if is_numeric(real.type):
        numbers = [values[~np.isnan(values)] for values in (numbers_of(real), numbers_of(generated))]
        if all(len(values) for values in numbers):
            return histogram(name, numbers[0], numbers[1], label_of(real.type))
    values = [
        [str(value) if value is not None else "(missing)" for value in column.to_pylist()]
        for column in (real, generated)
    ]
    categories, counts = np.unique(values[0], return_counts=True)
    frequent = categories[np.argsort(-counts, kind="stable")][: int((counts >= _RARE).sum())]
    shown = frequent[:_CATEGORIES].tolist()
    shares = [np.array([side.count(one) for one in shown], dtype=np.float64) / max(1, len(side)) for side in values]
    if len(shown) < len(set(values[0] + values[1])):
        shown, shares = [*shown, _OTHERS], [np.append(one, max(0.0, 1 - one.sum())) for one in shares]
    return Distribution(name, shown, shares[0], shares[1])


def _obstacle(tables: Tables, target: str | None) -> str:
    """Return why utility cannot be measured; empty: it can."""
    if target is None:
        return "no column is named to predict; give --target COLUMN"
    if target not in tables.real.column_names:
        return f"column '{target}' is generated without a model, and cannot be predicted"
    if tables.train is None:
        return f"fewer than {LEAST_TAUGHT} training rows can be read"
    sizes = len(tables.real), len(tables.generated)
    if min(sizes) < LEAST_TAUGHT:
        return f"needs at least {LEAST_TAUGHT} held-out and generated rows; found {sizes[0]} and {sizes[1]}"
    return ""


def _utility(tables: Tables, results: Results, target: str | None, seed: int) -> None:
    reason = _obstacle(tables, target)
    if reason or target is None or tables.train is None:
        results.skip(reason, *_UTILITY)
        return
    telling = tables.derived_from(target)
    names = [name for name in tables.real.column_names if name not in telling]
    real, generated, train = (table.select(names) for table in (tables.real, tables.generated, tables.train))
    try:
        real_value, _ = utility(train, real, target, seed=seed)
        values = {
            "tstr": (_UTILITY[0], *utility(generated, real, target, seed=seed)),
            "trts": (_UTILITY[1], *utility(train, generated, target, seed=seed)),
        }
    except UserError as refusal:
        results.skip(str(refusal), *_UTILITY)
        return
    least = -math.inf if is_numeric(real.column(target).type) else 0.0  # R² may be negative
    for key, (name, value, error) in values.items():
        results.figures.append(
            Figure(
                name=name,
                key=key,
                group="utility",
                value=value,
                low=max(value - 1.96 * error, least),
                high=min(1.0, value + 1.96 * error),
                real_data=real_value,
                better="higher",
                real=len(real),
                generated=len(generated),
                seed=seed,
                meaning=f"How well boosted trees learn to predict '{target}': mean area under the ROC curve over its "
                "classes, or R² of a number. Real data: trained on as many real rows, tested on real rows.",
            )
        )
