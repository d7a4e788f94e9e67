"""Whether generated items serve as training data: trained on one side, tested on the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..core import plugins
from .chance import share_interval
from .results import Figure
from .subject import Findings, Sample, Subject

_LEAST = 50  # items to learn from


def usefulness(subject: Subject, findings: Findings) -> None:
    """Train on synthetic, test on real, and the reverse, of items with labels."""
    names = ("train on synthetic, test on real", "train on real, test on synthetic")
    if subject.generated.labels is None or subject.real.labels is None or subject.as_many is None:
        why = "generated items have no labels; fit with --condition" if subject.real.labels else "there are no labels"
        if subject.as_many is None:
            why = "the training items are not to be had"
        for name in names:
            findings.lacks(name, why)
        return
    if subject.as_many.labels is None:
        for name in names:
            findings.lacks(name, "the training items have no labels")
        return
    tested, learned = subject.real.labelled(), subject.as_many.labelled()
    if min(len(subject.generated), len(learned)) < _LEAST:
        for name in names:
            findings.lacks(name, f"needs at least {_LEAST} items to learn from")
        return
    if min(len(set(one.labels or ())) for one in (subject.generated, learned, tested)) < 2:
        for name in names:
            findings.lacks(name, "there is one class alone to be learned or told")
        return
    synthetic = _learned(subject, subject.generated)
    real = _learned(subject, learned)
    ceiling = _right(real, tested).mean()
    for key, name, learner, judged in (
        ("tstr", names[0], synthetic, tested),
        ("trts", names[1], real, subject.generated),
    ):
        hits = _right(learner, judged)
        low, high = share_interval(int(hits.sum()), len(hits))
        findings.figures.append(
            Figure(
                name=name,
                key=key,
                group="usefulness",
                value=float(hits.mean()),
                low=low,
                high=high,
                ceiling=float(ceiling),
                floor=1 / max(1, len(set(tested.labels or ()))),
                better="higher",
                real=len(tested),
                generated=len(subject.generated),
                seed=subject.seed,
                meaning="Share of items whose class a small model names rightly. The ceiling: as many real items to "
                "learn from, and real ones to be tested on.",
            )
        )


def _learned(subject: Subject, sample: Sample) -> Any:
    """A small classifier, which never saw anything but these items."""
    own = plugins.load("modalities", subject.pipeline.modality, "features").own
    extractor = own([sample.items], sample.labels, codec=subject.codec, seed=subject.seed)
    if extractor.classes:
        return lambda items: np.array(extractor.classes)[extractor.probabilities(items).argmax(1).numpy()]
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learner = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=subject.seed))
    learner.fit(extractor.features(sample.items).double().numpy(), np.array(sample.labels))
    return lambda items: learner.predict(torch.as_tensor(extractor.features(items)).double().numpy())


def _right(learner: Any, sample: Sample) -> Any:
    return learner(sample.items) == np.array(sample.labels)
