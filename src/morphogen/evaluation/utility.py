"""Utility of items with labels: train on synthetic, test on real, and the reverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.judge import Comparison, Judge, Sample
from ..core.modality import Modality
from ..core.results import Figure, Results
from ..metrics.statistics.intervals import share_interval
from .copying import NO_TRAINING_ITEMS
from .samples import take

_LEAST = 50  # items to learn from
_NAMES = ("train on synthetic, test on real", "train on real, test on synthetic")
Predict = Callable[[Any], NDArray[Any]]


def utility_by_label(comparison: Comparison[Any], judge: Judge[Any], modality: Modality[Any], results: Results) -> None:
    """Measure the accuracy of a small classifier, trained on one side and tested on the other."""
    if comparison.quick and judge.trained_extractor:
        results.skip("training classifiers takes minutes; leave out --quick", *_NAMES)
        return
    if reason := _obstacle(comparison):
        results.skip(reason, *_NAMES)
        return
    generated, matched = comparison.generated, comparison.train_matched
    assert matched is not None
    train, test = _labelled(matched, modality), _labelled(comparison.real, modality)
    if min(len(generated), len(train)) < _LEAST:
        results.skip(f"needs at least {_LEAST} items to learn from", *_NAMES)
        return
    if min(len(set(sample.labels or ())) for sample in (generated, train, test)) < 2:
        results.skip("there is only one class to learn", *_NAMES)
        return
    on_synthetic, on_real = (_fit_classifier(sample, comparison, judge) for sample in (generated, train))
    real_value = float(_hits(on_real, test).mean())
    for key, name, predict, sample in (
        ("tstr", _NAMES[0], on_synthetic, test),
        ("trts", _NAMES[1], on_real, generated),
    ):
        hits = _hits(predict, sample)
        low, high = share_interval(int(hits.sum()), len(hits))
        results.figures.append(
            Figure(
                name=name,
                key=key,
                group="utility",
                value=float(hits.mean()),
                low=low,
                high=high,
                real_data=real_value,
                baseline=1 / max(1, len(set(test.labels or ()))),
                better="higher",
                real=len(test),
                generated=len(generated),
                seed=comparison.seed,
                meaning="Accuracy of a small classifier. Real data: trained on as many real items, tested on real "
                "ones. Baseline: guessing.",
            )
        )


def _obstacle(comparison: Comparison[Any]) -> str:
    """Return why utility cannot be measured; empty: it can."""
    if comparison.train_matched is None:
        return NO_TRAINING_ITEMS
    if comparison.real.labels is None:
        return "there are no labels"
    if comparison.generated.labels is None:
        return "generated items have no labels; fit with --condition"
    return "the training items have no labels" if comparison.train_matched.labels is None else ""


def _labelled(sample: Sample[Any], modality: Modality[Any]) -> Sample[Any]:
    """Return the items whose label is known."""
    return take(sample, [index for index, label in enumerate(sample.labels or ()) if label], modality)


def _fit_classifier(sample: Sample[Any], comparison: Comparison[Any], judge: Judge[Any]) -> Predict:
    """Return a small classifier trained on these items only."""
    extractor = judge.fit_extractor([sample.items], sample.labels, codec=comparison.codec, seed=comparison.seed)
    if extractor.classes:
        return lambda items: np.array(extractor.classes)[extractor.probabilities(items).argmax(1).numpy()]
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=comparison.seed))
    classifier.fit(extractor.features(sample.items).double().numpy(), np.array(sample.labels))
    return lambda items: classifier.predict(torch.as_tensor(extractor.features(items)).double().numpy())


def _hits(predict: Predict, sample: Sample[Any]) -> NDArray[np.bool_]:
    hits: NDArray[np.bool_] = predict(sample.items) == np.array(sample.labels)
    return hits
