"""Classes: do all occur, are items of the class requested, and how does each class fare?"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..core.errors import UserError
from ..core.judge import Comparison
from ..core.results import Check, ClassResult, Figure, Results
from ..metrics.manifold import Manifold
from ..metrics.statistics.inception_score import inception_score
from ..metrics.statistics.intervals import share_interval
from ..metrics.statistics.modes import compare_counts

_PER_CLASS, _SCORE = "results per class", "Inception Score"
Labels = dict[str, list[str]]  # of the real and of the generated items


def compare_classes(comparison: Comparison[Any], results: Results) -> None:
    """Add the Inception Score, missing classes, the accuracy of requested classes, and a result for each class."""
    extractor, requested = comparison.extractor, comparison.generated.labels
    predicted: Labels = {}
    if extractor.classes:
        samples = {"real": comparison.real, "generated": comparison.generated}
        probabilities = {side: extractor.probabilities(sample.items) for side, sample in samples.items()}
        predicted = {
            side: [extractor.classes[index] for index in p.argmax(1).tolist()] for side, p in probabilities.items()
        }
        _inception_score(comparison, results, probabilities)
    else:
        results.skip("there are no labels that a classifier could learn", _SCORE)
    labels = _labels(comparison, results, predicted)
    if labels is None:
        return
    names = sorted({name for side in labels.values() for name in side if name})
    counts = [np.array([labels[side].count(name) for name in names]) for side in ("real", "generated")]
    if requested is None or predicted:
        _missing_classes(names, counts[0], counts[1], results)
    accuracy: dict[str, float] = {}
    if requested is not None and predicted:
        accuracy = _accuracy(comparison, results, requested, predicted, names)
    coverage = _coverage(comparison, labels, names)
    results.classes = [
        ClassResult(
            name=name,
            real_share=float(counts[0][index] / max(1, counts[0].sum())),
            generated_share=float(counts[1][index] / max(1, counts[1].sum())),
            accuracy=accuracy.get(name),
            coverage=coverage.get(name),
        )
        for index, name in enumerate(names)
    ]


def _labels(comparison: Comparison[Any], results: Results, predicted: Labels) -> Labels | None:
    """Return the labels of both sides, by the classifier where there is one; None: they cannot be compared."""
    extractor, real = comparison.extractor, comparison.real
    if not extractor.classes and real.labels is None:
        results.skip("the data has no labels", _PER_CLASS)
        return None
    own = {name for name in real.labels or (comparison.train.labels if comparison.train else None) or () if name}
    if extractor.classes and not (extractor.of_data and own and own <= set(extractor.classes)):
        results.skip(f"the classes of {extractor.name} are not those of the data", _PER_CLASS)
        return None
    generated = predicted.get("generated") or comparison.generated.labels
    if generated is None:
        results.skip("generated items have no labels, and no classifier predicts them", _PER_CLASS)
        return None
    return {"real": predicted.get("real") or real.labels or [], "generated": generated}


def _missing_classes(names: list[str], real: Any, generated: Any, results: Results) -> None:
    missing = [names[index] for index in compare_counts(real, generated).missing]
    results.checks.append(
        Check(
            name="missing classes",
            detected=bool(missing),
            message=f"{len(missing)} of {len(names)} classes hardly occur among generated items"
            + (f": {', '.join(missing[:5])}." if missing else "."),
        )
    )


def _accuracy(
    comparison: Comparison[Any], results: Results, requested: list[str], predicted: Labels, names: list[str]
) -> dict[str, float]:
    """Add the share of items that the classifier assigns to the requested class, and return it for each class."""
    real = comparison.real
    hits = np.array([one == other for one, other in zip(requested, predicted["generated"], strict=True)])
    real_value = None
    if real.labels:
        pairs = zip(real.labels, predicted["real"], strict=True)
        real_value = float(np.mean([one == other for one, other in pairs if one]))
    low, high = share_interval(int(hits.sum()), len(hits))
    results.figures.append(
        Figure(
            name=f"class accuracy[{comparison.extractor.name}]",
            key="class_accuracy",
            group="utility",
            value=float(hits.mean()),
            low=low,
            high=high,
            real_data=real_value,
            baseline=1 / len(names),
            better="higher",
            extractor=comparison.extractor.name,
            real=len(real),
            generated=len(comparison.generated),
            seed=comparison.seed,
            meaning="Share of generated items that a classifier, trained on real ones, assigns to the requested class. "
            "Baseline: guessing.",
        )
    )
    return {name: float(hits[[one == name for one in requested]].mean()) for name in names if name in requested}


def _inception_score(comparison: Comparison[Any], results: Results, probabilities: dict[str, Tensor]) -> None:
    extractor = comparison.extractor
    # It grows with the number of items of a split.
    count = min(map(len, probabilities.values()))
    splits = max(2, min(10, count // 50))
    try:
        value, error = inception_score(probabilities["generated"][:count], splits=splits, seed=comparison.seed)
        real_value, _ = inception_score(probabilities["real"][:count], splits=splits, seed=comparison.seed)
    except UserError as refusal:
        results.skip(str(refusal), _SCORE)
        return
    results.figures.append(
        Figure(
            name="IS" if extractor.name == "inception-2015" else f"IS[{extractor.name}]",
            key="inception_score",
            group="fidelity",
            value=value,
            low=value - 1.96 * error,
            high=value + 1.96 * error,
            real_data=real_value,
            baseline=1.0,
            better="higher",
            extractor=extractor.name,
            real=count,
            generated=count,
            seed=comparison.seed,
            meaning=f"Inception Score: does a classifier assign items to one of {len(extractor.classes)} classes "
            "with confidence, and does each class occur? It is blind to variety within a class. Baseline: one class.",
        )
    )


def _coverage(comparison: Comparison[Any], labels: Labels, names: list[str]) -> dict[str, float]:
    """Return the coverage of each class with enough items."""
    samples = {"real": comparison.real, "generated": comparison.generated}
    coverage = {}
    for name in names:
        sides = {
            side: sample.features[[index for index, label in enumerate(labels[side]) if label == name]]
            for side, sample in samples.items()
        }
        metric = Manifold()
        try:
            metric.update(sides["real"], real=True)
            metric.update(sides["generated"], real=False)
            coverage[name] = metric.compute()["coverage"]
        except UserError:  # too few of the class
            continue
    return coverage
