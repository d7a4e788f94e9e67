"""The figures that compare features of generated items with those of held-out ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..core import plugins
from ..core.errors import UserError
from .chance import around, halves
from .metrics._rows import RowMetric
from .metrics.base import Metric
from .results import Figure, Group, NotMeasured

# Of the metrics that come with morphogen: what it is called, its group, and what it says.
_KNOWN: dict[str, tuple[str, Group, str]] = {
    "frechet": (
        "FD",
        "likeness",
        "Fréchet distance: how far the bulk of generated items lies from real ones. Falls with the number of items: "
        "compare with the ceiling, and at equal numbers only.",
    ),
    "frechet_infinity": (
        "FD∞",
        "likeness",
        "The same as with endless items, extrapolated; a little below 0 is nothing.",
    ),
    "kernel": (
        "KD",
        "likeness",
        "Kernel distance: the same question by a cubic kernel; it does not hang on the number of items.",
    ),
    "discrepancy": (
        "MMD²",
        "likeness",
        "Maximum mean discrepancy of a Gaussian kernel as wide as the median distance; about 0 where nothing differs.",
    ),
    "precision": ("precision", "likeness", "Share of generated items that lie among real ones: are they good?"),
    "density": ("density", "likeness", "The same, weighted by how many real items are around; may exceed 1."),
    "recall": ("recall", "variety", "Share of real items that lie among generated ones: is everything there?"),
    "coverage": ("coverage", "variety", "Share of real items with a generated one nearby; outliers do not spoil it."),
    "vendi_ratio": (
        "Vendi ratio",
        "variety",
        "How many different items there are in effect, over that of real items; below 1 is less varied.",
    ),
}
_PUBLISHED = {"inception-2015": {"frechet": "FID", "kernel": "KID", "frechet_infinity": "FID∞"}}


def name_of(key: str, extractor: str) -> str:
    """What a figure is called; FID and KID only what is computed on Inception-2015's published weights."""
    published = _PUBLISHED.get(extractor, {}).get(key)
    return published or f"{_KNOWN[key][0] if key in _KNOWN else key}[{extractor}]"


def metrics() -> dict[str, Callable[[], Metric]]:
    """Every metric there is, built in or installed, by name."""
    return {name: plugins.sole(plugins.load("metrics", name), Metric) for name in plugins.known("metrics")}


def measure(kind: Callable[[], Metric], real: Tensor, generated: Tensor) -> dict[str, float]:
    """The figures of a metric of two sets of features."""
    metric = kind()
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return metric.compute()


def likeness(features: Mapping[str, Tensor], extractor: str, *, seed: int, draws: int) -> tuple[list[Any], list[Any]]:
    """Figures, and what could not be measured, of the features `real` and `generated`, `(N, d)`.

    Where there are `train`, as many training items as generated ones, they give the ceiling, and `floor` gives the
    floor. Intervals are by `draws` halves of both sides; where a half is too few for a metric, it has none.
    """
    real, generated = features["real"], features["generated"]
    found: list[Figure] = []
    missing: list[NotMeasured] = []
    for name, kind in metrics().items():
        try:
            values = measure(kind, real, generated)
        except UserError as error:
            missing.append(NotMeasured(name=name, why=str(error)))
            continue
        errors = _errors(kind, real, generated, draws, seed)
        bounds = {side: _bound(kind, real, features.get(side)) for side in ("train", "floor")}
        better = "higher" if kind.higher_is_better else "lower"  # type: ignore[attr-defined]
        for key, value in values.items():
            if not math.isfinite(value):
                missing.append(NotMeasured(name=name_of(key, extractor), why=f"its value came out as {value}"))
                continue
            if key == "vendi_ratio":
                better = "near"
            _, group, meaning = _KNOWN.get(key, (key, "likeness", "A metric that was installed beside morphogen's."))
            low: float | None = None
            high: float | None = None
            if errors and math.isfinite(errors[key]):
                low, high = around(value, errors[key])
                if value >= 0 and key not in ("kernel", "discrepancy"):
                    low = max(low, 0.0)
                if key in ("precision", "recall", "coverage"):
                    high = min(high, 1.0)
            else:
                meaning = f"{meaning} Of too few items for an interval."
            found.append(
                Figure(
                    name=name_of(key, extractor),
                    key=key,
                    group=group,
                    value=value,
                    low=low,
                    high=high,
                    ceiling=_finite(bounds["train"].get(key)),
                    floor=_finite(bounds["floor"].get(key)),
                    better=better,
                    extractor=extractor,
                    real=len(real),
                    generated=len(generated),
                    seed=seed,
                    meaning=meaning,
                )
            )
    order = list(_KNOWN)
    found.sort(key=lambda one: order.index(one.key) if one.key in order else len(order))
    return found, missing


def _errors(kind: Callable[[], Metric], real: Tensor, generated: Tensor, draws: int, seed: int) -> dict[str, float]:
    """The standard errors of a metric's figures; none where half of the items are too few for it."""
    metric = kind()
    if isinstance(metric, RowMetric):
        # Half of what it reads: of more rows than it holds, halves would all be read in nearly the same few.
        metric.update(real, real=True)
        metric.update(generated, real=False)
        real, generated = metric.sides()
    try:
        return halves(lambda a, b: measure(kind, a, b), real, generated, draws=draws, seed=seed)
    except UserError:
        return {}


def _bound(kind: Callable[[], Metric], real: Tensor, other: Tensor | None) -> dict[str, float]:
    """What other items get; nothing where there are none, or too few."""
    try:
        return measure(kind, real, other) if other is not None else {}
    except UserError:
        return {}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def constant(features: Tensor) -> bool:
    """Whether all rows are alike, so that no distance means anything."""
    return bool((features == features[:1]).all()) if len(features) else True


def in_order(features: Tensor) -> Tensor:
    """Which row comes where in an order that only their content settles."""
    from .metrics._rows import digests

    return torch.from_numpy(digests(features.double()).argsort(kind="stable"))
