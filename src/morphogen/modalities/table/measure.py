"""Figures of rows alone: by column, by pair of columns, to boosted trees, and as training data."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from morphogen.core.errors import UserError
from morphogen.core.judge import Comparison
from morphogen.core.results import Check, ColumnResult, Distribution, Figure, Results
from morphogen.metrics.statistics.histogram import histogram
from morphogen.metrics.statistics.intervals import auc_error, halves

from .statistics.arrow_columns import numbers_of
from .statistics.c2st import c2st_auc
from .statistics.column_quality import compare_columns
from .statistics.utility import utility
from .units import is_numeric

_LEAST, _MOST = 50, 20_000  # rows
_MOST_HALVED = 4_000  # rows of which halves are drawn for intervals
_DRAWS = 10
_CATEGORIES = 20  # bars of a chart
_LOSS = 0.02  # of Shape or Trend below that of real data, from which on a column is named
_Columns = dict[str, tuple[float, float | None]]  # shape and trend by name
_DERIVED = ("constant", "sum")  # kinds of columns that are not modelled, and still say something of a row
_UTILITY = ("train on synthetic, test on real", "train on real, test on synthetic")
_MEANINGS = {
    "shape": "Similarity of single columns, on average; independent columns get as much: rank no models by it.",
    "trend": "Similarity of the dependence between pairs of columns, on average.",
}


class _Tables(NamedTuple):
    """The same columns of each sample."""

    real: Any
    generated: Any
    train: Any | None
    baseline: Any | None


def measure(comparison: Comparison[Any], results: Results) -> None:
    """Add Shape and Trend, the columns that differ, the two-sample test, and utility."""
    if min(len(comparison.real), len(comparison.generated)) < _LEAST:
        reason = (
            f"needs at least {_LEAST} held-out and generated rows; found {len(comparison.real)} and "
            f"{len(comparison.generated)}"
        )
        results.skip(reason, "Shape", "Trend", "C2ST AUC", "utility")
        return
    names = _informative(comparison)

    def select(sample: Any) -> Any:
        return sample.items.select(names).slice(0, _MOST) if sample else None

    real, baseline, train = select(comparison.real), select(comparison.baseline), comparison.train_matched
    tables = _Tables(
        real=real,
        generated=select(comparison.generated).cast(real.schema, safe=False),
        train=select(train) if train and len(train) >= _LEAST else None,
        baseline=baseline.cast(real.schema, safe=False) if baseline is not None else None,
    )
    generated_columns, train_columns = _compare(real, tables.generated), _compare(real, tables.train)
    _shape_and_trend(tables, generated_columns, train_columns, results, comparison.seed)
    _column_results(tables, generated_columns, train_columns, results)
    _two_sample(tables, results, comparison.seed)
    _utility(tables, results, comparison.target, comparison.seed)


def _informative(comparison: Comparison[Any]) -> list[str]:
    """Return the columns that say something of a row: no keys, no personal data that is generated, no free text."""
    codec: Any = comparison.codec
    return [
        name
        for name in comparison.real.items.column_names
        if name not in codec.unmodelled or codec.column_types[name].kind in _DERIVED
    ]


def _compare(real: Any, other: Any | None) -> _Columns:
    return compare_columns(real, other) if other is not None else {}


def _shape_and_trend(
    tables: _Tables, generated_columns: _Columns, train_columns: _Columns, results: Results, seed: int
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


def _column_results(tables: _Tables, generated_columns: _Columns, train_columns: _Columns, results: Results) -> None:
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
        reason = f"fewer than {_LEAST} training rows can be read, so there is no value of real data"
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
    """Return numbers and dates in bins, and categories by falling frequency."""
    if is_numeric(real.type):
        numbers = [values[~np.isnan(values)] for values in (numbers_of(real), numbers_of(generated))]
        if all(len(values) for values in numbers):
            return histogram(name, numbers[0], numbers[1])
    values = [
        [str(value) if value is not None else "(missing)" for value in column.to_pylist()]
        for column in (real, generated)
    ]
    categories, counts = np.unique(values[0], return_counts=True)
    shown = categories[np.argsort(-counts, kind="stable")][:_CATEGORIES].tolist()
    shares = [np.array([side.count(one) for one in shown], dtype=np.float64) / max(1, len(side)) for side in values]
    return Distribution(name, shown, shares[0], shares[1])


def _two_sample(tables: _Tables, results: Results, seed: int) -> None:
    value = c2st_auc(tables.real, tables.generated, seed=seed)
    real_value = c2st_auc(tables.real, tables.train, seed=seed) if tables.train is not None else None
    count = min(len(tables.real), len(tables.generated))
    error = auc_error(value, count, count)
    results.figures.append(
        Figure(
            name="C2ST AUC",
            key="two_sample",
            group="fidelity",
            value=value,
            low=max(0.0, value - 1.96 * error),
            high=min(1.0, value + 1.96 * error),
            real_data=real_value,
            baseline=c2st_auc(tables.real, tables.baseline, seed=seed) if tables.baseline is not None else None,
            better="lower",
            real=len(tables.real),
            generated=len(tables.generated),
            seed=seed,
            meaning="Classifier two-sample test: how well boosted trees distinguish generated from real rows: .5 is "
            "not at all, 1 always; slightly less than .5 where rows are duplicates.",
        )
    )
    reference = f"; training rows: {real_value:.3f}" if real_value is not None else ""
    results.checks.append(
        Check(
            name="classifier two-sample test",
            detected=value - 3.3 * error > max(0.5, real_value or 0),
            fault=False,
            message="Boosted trees distinguish generated rows from real ones with an area under the ROC curve of "
            f"{value:.3f} (guessing: .5{reference}).",
        )
    )


def _utility(tables: _Tables, results: Results, target: str | None, seed: int) -> None:
    real, generated, train = tables.real, tables.generated, tables.train
    if target is not None and target not in real.column_names:
        results.skip(f"column '{target}' is generated without a model, and cannot be predicted", *_UTILITY)
        return
    if train is None or target is None:
        reason = "the training rows cannot be read" if target else "no column is named to predict; give --target COLUMN"
        results.skip(reason, *_UTILITY)
        return
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
