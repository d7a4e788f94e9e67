"""The metrics that compare features of generated items with those of held-out items."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from ..core import plugins
from ..core.errors import UserError
from ..core.results import Figure, NotMeasured
from ..metrics._reservoir import SampledMetric
from ..metrics.base import FigureInfo, Metric
from ..metrics.statistics.intervals import halves, normal_interval

MakeMetric = Callable[[], Metric]
DRAWS, DRAWS_QUICK = 30, 10  # halves, from which intervals come


def figure_name(info: FigureInfo, extractor: str) -> str:
    """Return the name of a figure under an extractor: FD[…], or FID under published weights."""
    return info.published.get(extractor, f"{info.name}[{extractor}]")


def metrics() -> dict[str, type[Metric]]:
    """Return every metric, built in or installed, by name, in the order of a report."""
    kinds = {name: plugins.sole(plugins.load("metrics", name), Metric) for name in plugins.known("metrics")}
    return dict(sorted(kinds.items(), key=lambda item: item[1].position))


def measure(kind: MakeMetric, real: Tensor, generated: Tensor) -> dict[str, float]:
    """Return the figures of a metric of two sets of features."""
    metric = kind()
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return metric.compute()


def distance(real: Tensor, other: Tensor) -> float | None:
    """Return the Fréchet distance of two sets of features; None where there are too few."""
    return _finite(_measure_reference(metrics()["frechet"], real, other).get("frechet"))


def compare_features(
    features: Mapping[str, Tensor], extractor: str, *, seed: int, draws: int = DRAWS
) -> tuple[list[Figure], list[NotMeasured]]:
    """Return the figures of all metrics, and those that could not be measured.

    `features` are `real` and `generated`, `(N, d)`; where there are `real_data` (as many training items as generated
    ones) and `baseline`, their values stand beside. Intervals are by `draws` halves of both sides.
    """
    real, generated = features["real"], features["generated"]
    figures: list[Figure] = []
    missing: list[NotMeasured] = []
    for kind in metrics().values():
        try:
            values = measure(kind, real, generated)
        except UserError as error:
            names = ", ".join(figure_name(info, extractor) for info in kind.figures.values())
            missing.append(NotMeasured(name=names, reason=str(error)))
            continue
        errors = _standard_errors(kind, real, generated, draws, seed)
        references = {side: _measure_reference(kind, real, features.get(side)) for side in ("real_data", "baseline")}
        for key, value in values.items():
            info = kind.figures[key]
            if not math.isfinite(value):
                missing.append(NotMeasured(name=figure_name(info, extractor), reason=f"its value is {value}"))
                continue
            low, high = _interval(info, value, errors.get(key))
            figures.append(
                Figure(
                    name=figure_name(info, extractor),
                    key=key,
                    group=info.group,
                    value=value,
                    low=low,
                    high=high,
                    real_data=_finite(references["real_data"].get(key)),
                    baseline=_finite(references["baseline"].get(key)),
                    better=info.better,
                    extractor=extractor,
                    real=len(real),
                    generated=len(generated),
                    seed=seed,
                    meaning=info.meaning if low is not None else f"{info.meaning} Too few items for an interval.",
                )
            )
    return figures, missing


def _interval(info: FigureInfo, value: float, error: float | None) -> tuple[float | None, float | None]:
    """Return the 95 % interval, cut to the range of the figure; None: no error is known."""
    if error is None or not math.isfinite(error):
        return None, None
    low, high = normal_interval(value, error)
    if info.minimum is not None and value >= info.minimum:
        low = max(low, info.minimum)
    if info.maximum is not None:
        high = min(high, info.maximum)
    return low, high


def _standard_errors(kind: MakeMetric, real: Tensor, generated: Tensor, draws: int, seed: int) -> dict[str, float]:
    """Return the standard errors of a metric's figures; none where half of the items are too few for it."""
    metric = kind()
    if isinstance(metric, SampledMetric):
        # Halves of what it holds: halves of everything would nearly all be reduced to the same few vectors.
        metric.update(real, real=True)
        metric.update(generated, real=False)
        real, generated = metric.samples()
    try:
        return halves(partial(measure, kind), real, generated, draws=draws, seed=seed)
    except UserError:
        return {}


def _measure_reference(kind: MakeMetric, real: Tensor, other: Tensor | None) -> dict[str, float]:
    """Return the figures of other items; none where there are none, or too few."""
    try:
        return measure(kind, real, other) if other is not None else {}
    except UserError:
        return {}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def is_constant(features: Tensor) -> bool:
    """Return whether all feature vectors are equal, so that distances mean nothing."""
    return bool((features == features[:1]).all()) if len(features) else True
