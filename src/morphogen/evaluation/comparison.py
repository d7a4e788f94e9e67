"""From the plan of an evaluation and generated items to the samples that are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.extractor import Extractor
from ..core.judge import Comparison, Sample
from .plan import Plan
from .samples import join, make_sample, subsample
from .splits import Split, exclude

Labelled = tuple[Any, list[str] | None]  # items and their labels


def read_comparison(plan: Plan, extractor: Extractor[Any], batches: list[Any]) -> Comparison[Any]:
    """Return all samples with their features; `batches` are the generated items."""
    modality, judge = plan.modality, plan.judge
    made = modality.concatenate(batches)
    items: dict[str, Labelled] = {
        "real": _read(plan, plan.real),
        "generated": (made, plan.labels and plan.labels[: len(made)]),
    }
    if plan.train is not None and plan.unseen_train is not None:
        items["unseen"] = _read(plan, plan.unseen_train)
        if len(plan.unseen_train) < len(plan.train):
            items["seen"] = _read(plan, exclude(plan.train, np.isin(plan.train.indices, plan.unseen_train.indices)))
    train_items = items["unseen"][0] if "unseen" in items else None
    cut = judge.cut(items["real"][0], items["generated"][0])
    if cut is not None:
        items = {side: (cut(whole), None) for side, (whole, _) in items.items()}

    def sample(labelled: Labelled) -> Sample[Any]:
        return make_sample(*labelled, extractor=extractor, codec=plan.codec, judge=judge, modality=modality)

    samples = {side: sample(labelled) for side, labelled in items.items()}
    unseen, matched = samples.get("unseen"), None
    if unseen is not None:
        matched = subsample(unseen, len(samples["generated"]), plan.seed, modality)
    whole = (matched or samples["real"]).items
    baseline, degraded = judge.baseline(whole, plan.seed), judge.degraded(whole, plan.seed)
    return Comparison(
        codec=plan.codec,
        extractor=extractor,
        seed=plan.seed,
        real=samples["real"],
        generated=samples["generated"],
        train=join([samples["unseen"], samples["seen"]], modality) if "seen" in samples else unseen,
        unseen_train=unseen,
        train_matched=matched,
        baseline=sample((baseline, None)) if baseline is not None else None,
        degraded=sample((degraded, None)) if degraded is not None else None,
        train_items=train_items,
        passages=cut is not None,
        label=plan.splits.label,
        target=plan.target,
        quick=plan.quick,
    )


def _read(plan: Plan, split: Split) -> Labelled:
    split = split.without_unreadable()
    return plan.modality.concatenate(list(plan.as_seen(split))), split.labels
