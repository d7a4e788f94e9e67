"""Do generated items differ from real ones at all, and in which plain property most?"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.errors import UserError
from ..core.judge import Comparison, Judge
from ..core.results import Check, Figure, Results
from ..metrics.discrepancy import format_p, p_value
from ..metrics.statistics.histogram import histogram
from ..metrics.statistics.intervals import SIGNIFICANT

_LEAST = 20  # items of each side, for the test of a distribution shift


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
    """Test whether generated and real items are of one distribution, by their features and by plain properties."""
    real, generated, name = comparison.real, comparison.generated, comparison.extractor.name
    properties = _compare_properties(comparison, judge, results)
    try:
        p = p_value(real.features, generated.features, seed=comparison.seed)
    except UserError as error:
        results.skip(str(error), "p of MMD²", "two-sample test")
        return
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
    significant = [one for one in properties if one.p < SIGNIFICANT / max(1, len(properties))]
    detected = p < SIGNIFICANT or bool(significant)
    smallest = min([p, *(one.p for one in significant)])
    message = (
        f"Generated items {'can' if detected else 'cannot'} be distinguished from real ones by a two-sample test "
        f"({format_p(smallest)})"
    )
    if significant:
        worst = min(significant, key=lambda one: (one.p, -one.distance))
        message += (
            f"; the largest difference is their {worst.name}, on average {worst.generated_mean:.3g}, and "
            f"{worst.real_mean:.3g} in real items"
        )
    if detected and comparison.distribution_shift:
        message += "; so can training items from held-out ones"
    results.checks.append(Check(name="two-sample test", detected=detected, fault=False, message=f"{message}."))


def _compare_properties(comparison: Comparison[Any], judge: Judge[Any], results: Results) -> list[Property]:
    """Compare the plain properties of items; each becomes a figure and a histogram."""
    from scipy.stats import ks_2samp

    real_values, generated_values = (
        judge.properties(sample.items, comparison.passages) for sample in (comparison.real, comparison.generated)
    )
    train = comparison.train_matched
    train_values = judge.properties(train.items, comparison.passages) if train else {}
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
