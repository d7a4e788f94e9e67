"""What is measured of rows alone: by column, by pair of columns, to boosted trees, and as training data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..core.errors import UserError
from . import tables
from .chance import area_error, halves
from .differences import histogram
from .report.material import Distribution
from .results import Check, ColumnResult, Figure
from .subject import Findings, Subject

_LEAST, _MOST = 50, 20_000  # rows
_MOST_HALVED = 4_000  # rows, whose halves tell an interval
_DRAWS = 10
_CATEGORIES = 20  # bars
_APART = 0.02  # of Shape or Trend, below the ceiling, from which on a column is named


def measure(subject: Subject, findings: Findings) -> None:
    """Shape, Trend, the two-sample test, usefulness, and the columns that differ most."""
    if min(len(subject.real), len(subject.generated)) < _LEAST:
        for name in ("Shape", "Trend", "C2ST AUC", "utility"):
            findings.lacks(name, f"needs at least {_LEAST} rows of each side; found {len(subject.real)} held out")
        return
    names = _modelled(subject)
    real, generated = (one.items.select(names).slice(0, _MOST) for one in (subject.real, subject.generated))
    train = subject.as_many.items.select(names).slice(0, _MOST) if subject.as_many else None
    generated = generated.cast(real.schema, safe=False)
    _shape_and_trend(subject, findings, real, generated, train)
    _told_apart(subject, findings, real, generated, train)
    _utility(subject, findings, real, generated, train, subject.target)


def _modelled(subject: Subject) -> list[str]:
    """The columns that say something of a row: not keys, personal data made anew, or free text."""
    taken = getattr(subject.codec, "taken", {})
    return [
        name for name in subject.real.items.column_names if _kind(taken.get(name)) not in ("key", "personal", "text")
    ]


def _kind(taken: Any) -> str:
    return str(getattr(taken, "kind", ""))


def _shape_and_trend(subject: Subject, findings: Findings, real: Any, generated: Any, train: Any) -> None:
    ceilings = tables.columns(real, train) if train is not None else {}
    found = tables.columns(real, generated)
    floor = subject.floor.items.select(real.column_names).slice(0, _MOST) if subject.floor else None
    low = tables.columns(real, floor) if floor is not None else {}
    halved = [one.slice(0, _MOST_HALVED) for one in (real, generated)]
    rows = [torch.arange(len(one)) for one in halved]

    def both(a: Any, b: Any) -> dict[str, float]:
        parts = [one.take(index.numpy()) for one, index in zip(halved, (a, b), strict=True)]
        return _means(tables.columns(*parts))

    errors = halves(both, rows[0], rows[1], draws=_DRAWS, seed=subject.seed)
    for key, value in _means(found).items():
        error = errors[key] * (len(halved[0]) / len(real)) ** 0.5
        findings.figures.append(
            Figure(
                name=key.capitalize(),
                key=key,
                group="likeness",
                value=value,
                low=value - 1.96 * error,
                high=min(1.0, value + 1.96 * error),
                ceiling=_means(ceilings).get(key),
                floor=_means(low).get(key),
                better="higher",
                real=len(real),
                generated=len(generated),
                seed=subject.seed,
                meaning={
                    "shape": "How alike the values of single columns are, on average; columns that have nothing to do "
                    "with each other get as much: rank nothing by it.",
                    "trend": "How alike pairs of columns go together, on average.",
                }[key],
            )
        )
    apart = []
    for name, (shape, trend) in found.items():
        usual = ceilings.get(name, (1.0, 1.0 if trend is not None else None))
        findings.columns.append(
            ColumnResult(name=name, shape=shape, trend=trend, shape_ceiling=usual[0], trend_ceiling=usual[1])
        )
        lost = max(usual[0] - shape, (usual[1] or 0) - trend if trend is not None else 0.0)
        if train is not None and lost > _APART + 2 / min(len(real), len(generated)) ** 0.5:
            apart.append((lost, name))
        findings.material.distributions.append(_distribution(name, real.column(name), generated.column(name)))
    if train is None:
        findings.lacks("columns that differ", "the training rows are not to be had, and so there is no ceiling")
        return
    worst = [name for _, name in sorted(apart, reverse=True)]
    findings.checks.append(
        Check(
            name="columns that differ",
            found=bool(worst),
            fault=False,
            says=f"{len(worst)} of {len(found)} columns have other values, or go together with others in other ways, "
            "than real rows" + (f": {', '.join(worst[:5])}." if worst else "."),
        )
    )


def _means(columns: dict[str, tuple[float, float | None]]) -> dict[str, float]:
    if not columns:
        return {}
    found = {"shape": float(np.mean([shape for shape, _ in columns.values()]))}
    trends = [trend for _, trend in columns.values() if trend is not None]
    return found | ({"trend": float(np.mean(trends))} if trends else {})


def _distribution(name: str, real: Any, generated: Any) -> Distribution:
    """Numbers and dates in bins, categories by how frequent they are."""
    if tables.is_number(real.type):
        sides = [tables.numbers_of(one) for one in (real, generated)]
        sides = [one[~np.isnan(one)] for one in sides]
        if all(len(one) for one in sides):
            return histogram(name, sides[0], sides[1])
    values = [
        [str(value) if value is not None else "(missing)" for value in one.to_pylist()] for one in (real, generated)
    ]
    kinds, counts = np.unique(values[0], return_counts=True)
    shown = kinds[np.argsort(-counts, kind="stable")][:_CATEGORIES].tolist()
    shares = [np.array([side.count(one) for one in shown], dtype=np.float64) / max(1, len(side)) for side in values]
    return Distribution(name, shown, shares[0], shares[1])


def _told_apart(subject: Subject, findings: Findings, real: Any, generated: Any, train: Any) -> None:
    value = tables.two_sample(real, generated, seed=subject.seed)
    count = min(len(real), len(generated))
    ceiling = tables.two_sample(real, train, seed=subject.seed) if train is not None else None
    floor = None
    if subject.floor:
        rows = subject.floor.items.select(real.column_names).slice(0, _MOST)
        floor = tables.two_sample(real, rows.cast(real.schema, safe=False), seed=subject.seed)
    error = area_error(value, count, count)
    findings.figures.append(
        Figure(
            name="C2ST AUC",
            key="two_sample",
            group="likeness",
            value=value,
            low=max(0.0, value - 1.96 * error),
            high=min(1.0, value + 1.96 * error),
            ceiling=ceiling,
            floor=floor,
            better="lower",
            real=len(real),
            generated=len(generated),
            seed=subject.seed,
            meaning="How well boosted trees tell generated rows from real ones: .5 is not at all, 1 always. A little "
            "less than .5 where rows are found twice.",
        )
    )
    usual = max(0.5, ceiling or 0.5)
    findings.checks.append(
        Check(
            name="told from real rows",
            found=value - 3.3 * error > usual,
            fault=False,
            says=f"Boosted trees tell generated rows from real ones with an area of {value:.3f} under the curve (a "
            "coin: .5" + (f"; real rows: {ceiling:.3f})." if ceiling is not None else ")."),
        )
    )


def _utility(subject: Subject, findings: Findings, real: Any, generated: Any, train: Any, target: str | None) -> None:
    names = ("train on synthetic, test on real", "train on real, test on synthetic")
    if target is not None and target not in real.column_names:
        for name in names:
            findings.lacks(name, f"column '{target}' is made anew, and cannot be learned")
        return
    if train is None or target is None:
        why = "the training rows are not to be had" if target else "no column was named to learn; give --target"
        for name in names:
            findings.lacks(name, why)
        return
    try:
        ceiling, _ = tables.utility(train, real, target, seed=subject.seed)
        values = {
            "tstr": (names[0], *tables.utility(generated, real, target, seed=subject.seed)),
            "trts": (names[1], *tables.utility(train, generated, target, seed=subject.seed)),
        }
    except UserError as refused:
        for name in names:
            findings.lacks(name, str(refused))
        return
    least = -math.inf if tables.is_number(real.column(target).type) else 0.0  # R² may be below 0
    for key, (name, value, error) in values.items():
        findings.figures.append(
            Figure(
                name=name,
                key=key,
                group="usefulness",
                value=value,
                low=max(value - 1.96 * error, least),
                high=min(1.0, value + 1.96 * error),
                ceiling=ceiling,
                better="higher",
                real=len(real),
                generated=len(generated),
                seed=subject.seed,
                meaning=f"How well boosted trees learn to tell '{target}': of classes the area under the curve, on "
                "average over them, of numbers R². The ceiling: as many real rows to learn from, and real ones to be "
                "tested on.",
            )
        )
