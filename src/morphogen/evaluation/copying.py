"""Copies of training items, of held-out items and of each other, and distances to the training data."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..core.judge import Comparison, Judge
from ..core.modality import Modality
from ..core.results import Check, Figure, Pair, Results
from ..metrics.statistics.copies import Copies, find_copies, find_repeats
from ..metrics.statistics.intervals import share_interval
from ..metrics.statistics.memorisation import authentic, data_copying
from ..metrics.statistics.order import content_order

LEAST = 20  # items of each side
COPIES = "copies of training items"
HELD_OUT_COPIES, MEMORISATION = "copies of held-out data", "memorisation (distance to training data)"
NO_TRAINING_ITEMS = "the training items cannot be read"
_SHOWN = 12  # pairs
_REFERENCE = 10_000  # training items that show how many are copies of held-out items by chance
_MARGIN = 3 * 2**0.5  # standard errors of a difference


def repeated_items(comparison: Comparison[Any], results: Results) -> None:
    """Look for generated items that are copies of other generated ones."""
    real, generated, train = comparison.real, comparison.generated, comparison.train
    reference = torch.cat([real.features, train.features]) if train else real.features
    repeats = find_repeats(generated.features, reference)
    results.checks.append(_check("repeated items", repeats, "of another one"))
    results.figures.append(_figure(comparison, "repeats", repeats, "Generated items that are copies of another one."))


def copied_training_items(
    comparison: Comparison[Any], judge: Judge[Any], modality: Modality[Any], results: Results
) -> None:
    """Look for copies of training items, and show the generated items nearest to one."""
    train, generated = comparison.train, comparison.generated
    assert train is not None
    copies = find_copies(generated.features, train.features, None if judge.grouped_split else comparison.real.features)
    results.checks.append(_check(COPIES, copies, "of a training item", privacy=True))
    meaning = "Generated items that are copies of a training item."
    results.figures.append(_figure(comparison, "copies", copies, meaning))
    results.pairs = [
        Pair(
            _shown(generated.items, index, judge, modality),
            _shown(train.items, int(copies.indices[index]), judge, modality),
            float(copies.ratios[index]),
        )
        for index in copies.closest(_SHOWN)
    ]


def copied_held_out_items(comparison: Comparison[Any], judge: Judge[Any], results: Results) -> None:
    """Look for copies of held-out items, which the model should never have seen."""
    unseen, reference = comparison.unseen_train, None
    if unseen and not judge.grouped_split:
        reference = unseen.features[:_REFERENCE]
    copies = find_copies(comparison.generated.features, comparison.real.features, reference)
    what = "of a held-out item, which the model should never have seen"
    results.checks.append(_check(HELD_OUT_COPIES, copies, what))


def memorisation(comparison: Comparison[Any], results: Results) -> None:
    """Compare the distances of generated and of held-out items to the training items."""
    assert comparison.train is not None
    assert comparison.unseen_train is not None
    real, generated = comparison.real.features, comparison.generated.features
    train = comparison.train.features
    results.figures.append(_authenticity(comparison))
    z = data_copying(generated, real, train, seed=comparison.seed)
    if math.isnan(z):
        results.skip("no region of the data contains 20 held-out and 20 generated items", "C_T", MEMORISATION)
        return
    results.figures.append(
        Figure(
            name=f"C_T[{comparison.extractor.name}]",
            key="copying",
            group="copying",
            value=z,
            low=z - 1.96,
            high=z + 1.96,
            real_data=0.0,
            better="near",
            extractor=comparison.extractor.name,
            real=len(real),
            generated=len(generated),
            seed=comparison.seed,
            meaning="Standard errors by which generated items are nearer to training items (below 0) or further from "
            "them (above 0) than held-out items are. Below -3 is memorisation; far above 3 is low fidelity.",
        )
    )
    if comparison.distribution_shift:
        results.skip(comparison.distribution_shift, MEMORISATION)
        return
    # Typical items are near to everything: also to held-out items, when these are as many as training items.
    half = len(real) // 2
    unseen = comparison.unseen_train.features
    members = unseen[content_order(unseen)][: len(real) - half]
    near = [data_copying(generated, real[:half], x, cells=1) for x in (members, real[half : half + len(members)])]
    nearer_to_train = not any(map(math.isnan, near)) and near[0] - near[1] < -_MARGIN
    results.checks.append(
        Check(
            name=MEMORISATION,
            detected=z < -3 and nearer_to_train,
            privacy=True,
            message=f"Generated items are {abs(z):.1f} standard errors {'nearer to' if z < 0 else 'further from'} "
            "training items than held-out items are. Memorisation is 3 or more nearer, and not also nearer to held-out "
            "items.",
        )
    )


def _authenticity(comparison: Comparison[Any]) -> Figure:
    assert comparison.train is not None
    train = comparison.train.features
    own, reference = authentic(comparison.generated.features, train), authentic(comparison.real.features, train)
    low, high = share_interval(int(own.sum()), len(own))
    return Figure(
        name=f"authenticity[{comparison.extractor.name}]",
        key="authenticity",
        group="copying",
        value=float(own.double().mean()),
        low=low,
        high=high,
        real_data=float(reference.double().mean()),
        better="near",
        extractor=comparison.extractor.name,
        real=len(comparison.real),
        generated=len(comparison.generated),
        seed=comparison.seed,
        meaning="Share of generated items further from the nearest training item than that one is from the next. Far "
        "less than for held-out items means that generated items stay close to single training items.",
    )


def _check(name: str, copies: Copies, of_what: str, *, privacy: bool = False) -> Check:
    exact = copies.reference_exact / copies.reference_count
    return Check(
        name=name,
        detected=copies.detected,
        privacy=privacy,
        message=f"{copies.hits:,} of {copies.count:,} generated items ({copies.exact:,} exactly) are copies {of_what}; "
        f"{copies.reference_share:.1%} of real items are copies, {exact:.1%} exactly.",
    )


def _figure(comparison: Comparison[Any], key: str, copies: Copies, meaning: str) -> Figure:
    low, high = copies.interval
    return Figure(
        name=f"{key}[{comparison.extractor.name}]",
        key=key,
        group="copying",
        value=copies.share,
        low=low,
        high=high,
        real_data=copies.reference_share,
        better="lower",
        extractor=comparison.extractor.name,
        real=len(comparison.real),
        generated=copies.count,
        seed=comparison.seed,
        meaning=f"{meaning} A copy is twice as near to one item as the nearest pairs of real items are to each other.",
    )


def _shown(items: Any, index: int, judge: Judge[Any], modality: Modality[Any]) -> Any:
    """Return an item as a report shows it."""
    shown = judge.show(items, index)
    return modality.preview(modality.take(items, [index])) if shown is None else shown
