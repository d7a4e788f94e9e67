"""Do generated items differ from real ones at all, by how much, and in which plain property most?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.judge import Comparison, Judge, Sample
from ..core.results import Check, Figure, Results
from ..metrics.discrepancy import format_p, p_value
from ..metrics.statistics.c2st import LEAST, ClassifierTest, classifier_test
from ..metrics.statistics.histogram import histogram
from ..metrics.statistics.intervals import SIGNIFICANT

TWO_SAMPLE = "two-sample test"
_LEAST = 20  # items of each side, for the test of a distribution shift
_ERRORS = 3.3  # standard errors of the area, from which on the classifier tells both apart
_TREES, _FOLDS = 40, 3
_MOST, _MOST_QUICK = 5_000, 1_000  # items of each side that the classifier reads


class Property(NamedTuple):
    """One plain property: the test of Kolmogorov and Smirnov, and the means of both sides."""

    name: str
    p: float
    distance: float
    real_mean: float
    generated_mean: float


def distribution_shift(comparison: Comparison[Any]) -> str:
    """Return why training and held-out items cannot be compared, in words; empty where they can."""
    train, real = comparison.train_matched, comparison.real
    if train is None or min(len(real), len(train)) < _LEAST:
        return ""
    p = p_value(real.features, train.features, seed=comparison.seed)
    if p >= SIGNIFICANT:
        return ""
    return (
        f"held-out items are of another distribution than training items ({format_p(p)}), as the later part of a text "
        "or pictures of another day are, so distances to training items say nothing about the model"
    )


def two_sample_test(comparison: Comparison[Any], judge: Judge[Any], results: Results) -> None:
    """Test whether generated and real items are of one distribution: by a classifier, features and plain properties.

    All of it is one finding.
    """
    properties = _compare_properties(comparison, judge, results)
    area = _classifier(comparison, judge, results)
    p = _permutation_test(comparison, results)
    if area is None and p is None:
        results.skip(f"needs at least {LEAST} items of each side", TWO_SAMPLE)
        return
    significant = [one for one in properties if one.p < SIGNIFICANT / max(1, len(properties))]
    recognised = area is not None and area.value - _ERRORS * _error(area) > max(0.5, area.real_data or 0.0)
    detected = recognised or bool(significant) or (p is not None and p < SIGNIFICANT)
    message = f"A two-sample test finds {'a' if detected else 'no'} difference between generated and real items"
    evidence = [f"area under a classifier's ROC curve {area.value:.2f}"] if area is not None and recognised else []
    evidence += [format_p(min([one.p for one in significant] + ([] if p is None else [p])))] if significant else []
    if p is not None and not significant and (p < SIGNIFICANT or not detected):
        evidence.append(format_p(p))
    message += f" ({', '.join(evidence)})" if evidence else ""
    if significant:
        worst = min(significant, key=lambda one: (one.p, -one.distance))
        message += (
            f"; the largest is in {worst.name}, on average {worst.generated_mean:.3g}, and "
            f"{worst.real_mean:.3g} in real items"
        )
    if detected and comparison.distribution_shift:
        message += "; it also finds one between training and held-out items"
    results.checks.append(Check(name=TWO_SAMPLE, detected=detected, fault=False, message=f"{message}."))


def _error(area: Figure) -> float:
    """Return the standard error of the area, which its interval holds."""
    return 0.0 if area.low is None or area.high is None else max(area.value - area.low, area.high - area.value) / 1.96


def _classifier(comparison: Comparison[Any], judge: Judge[Any], results: Results) -> Figure | None:
    """Add the area under the ROC curve of boosted trees, and order generated items by how real they look."""
    real, generated, matched = comparison.real, comparison.generated, comparison.train_matched
    if min(len(real), len(generated)) < LEAST:
        results.skip(f"needs at least {LEAST} items of each side", "C2ST AUC")
        return None
    reads_features = type(judge).classifier_inputs is Judge.classifier_inputs
    test = _run(comparison, judge, generated)
    results.typical = [int(at) for at in np.argsort(test.scores, kind="stable") if not np.isnan(test.scores[at])]
    real_value = None
    if matched is not None and len(matched) >= LEAST:
        real_value = _run(comparison, judge, matched).area
    figure = Figure(
        name="C2ST AUC",
        key="two_sample",
        group="fidelity",
        value=test.area,
        low=max(0.0, test.area - 1.96 * test.error),
        high=min(1.0, test.area + 1.96 * test.error),
        real_data=real_value,
        better="lower",
        extractor=comparison.extractor.name if reads_features else None,
        real=len(real),
        generated=len(generated),
        seed=comparison.seed,
        meaning="Classifier two-sample test: of a real and a generated item, how often boosted trees pick the "
        "generated one: .5 is guessing, 1 always; slightly less than .5 where items are duplicates.",
    )
    results.figures.append(figure)
    return figure


def _run(comparison: Comparison[Any], judge: Judge[Any], other: Sample[Any]) -> ClassifierTest:
    inputs = judge.classifier_inputs(comparison, other)
    if inputs is None:
        real_values, other_values = (_numbers(comparison, judge, sample) for sample in (comparison.real, other))
        names = [name for name in real_values if name in other_values]
        inputs = (
            np.column_stack([comparison.real.features.numpy(), *(real_values[name] for name in names)]),
            np.column_stack([other.features.numpy(), *(other_values[name] for name in names)]),
            np.zeros(other.features.shape[1] + len(names), dtype=np.bool_),
        )
    most = _MOST_QUICK if comparison.quick else _MOST
    return classifier_test(*inputs, seed=comparison.seed, folds=_FOLDS, trees=_TREES, most=most)


def _numbers(comparison: Comparison[Any], judge: Judge[Any], sample: Sample[Any]) -> dict[str, NDArray[np.float64]]:
    return judge.properties(sample.items, comparison.passages)


def _permutation_test(comparison: Comparison[Any], results: Results) -> float | None:
    real, generated, name = comparison.real, comparison.generated, comparison.extractor.name
    try:
        p = p_value(real.features, generated.features, seed=comparison.seed)
    except UserError as error:
        results.skip(str(error), "p of MMD²")
        return None
    results.figures.append(
        Figure(
            name=f"p of MMD²[{name}]",
            key="discrepancy_p",
            group="fidelity",
            value=p,
            better="higher",
            extractor=name,
            real=len(real),
            generated=len(generated),
            seed=comparison.seed,
            meaning="p-value of the permutation test that generated and real items are of one distribution, with 1,999 "
            "permutations; a p-value has no interval.",
        )
    )
    return p


def _compare_properties(comparison: Comparison[Any], judge: Judge[Any], results: Results) -> list[Property]:
    """Compare the plain properties of items; each becomes a figure and a histogram."""
    from scipy.stats import ks_2samp

    real_values, generated_values = (
        _numbers(comparison, judge, sample) for sample in (comparison.real, comparison.generated)
    )
    train = comparison.train_matched
    train_values = _numbers(comparison, judge, train) if train else {}
    properties = []
    for name in real_values:
        if name not in generated_values:
            continue
        real, generated = real_values[name], generated_values[name]
        test = ks_2samp(real, generated)
        one = Property(name, float(test.pvalue), float(test.statistic), float(real.mean()), float(generated.mean()))
        properties.append(one)
        error = (0.25 / len(real) + 0.25 / len(generated)) ** 0.5  # of a share near one half, the largest
        results.figures.append(
            Figure(
                name=name,
                key=f"property_{name.replace(' ', '_')}",
                group="properties",
                value=one.distance,
                low=max(0.0, one.distance - 1.96 * error),
                high=min(1.0, one.distance + 1.96 * error),
                real_data=float(ks_2samp(real, train_values[name]).statistic) if name in train_values else None,
                better="lower",
                real=len(real),
                generated=len(generated),
                seed=comparison.seed,
                meaning="Largest gap between the two cumulative distributions (Kolmogorov-Smirnov). On average "
                f"{one.generated_mean:.3g} in generated items and {one.real_mean:.3g} in real ones.",
            )
        )
        results.distributions.append(histogram(name, real, generated))
    return properties
