"""What an evaluation reads and generates, decided before anything is generated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.codec import Codec
from ..core.errors import UserError, unknown
from ..core.extractor import Extractor
from ..core.judge import Advance, Judge
from ..core.modality import Modality, modality
from ..core.results import Results
from ..latent_codec import innermost
from ..pipeline import Pipeline
from .default_judge import judge_of
from .extractor import (
    MODEL,
    OWN,
    check_weights_flag,
    fit_or_restore,
    is_pretrained,
    open_extractor,
    saved_extractor,
    training_digest,
)
from .overlap import remove_training_items
from .splits import Split, Splits, exclude, open_splits, split_train

LEAST = 2  # items of each side, without which nothing can be measured
_MOST_REAL = 10_000  # held-out items
_QUICK_REAL, _QUICK_TRAIN, _QUICK_SAMPLES = 1_000, 2_000, 500
_QUICK_TOKENS, _QUICK_FEWEST = 40_000, 50  # tokens to generate, and items however long these are
_BYTES = 1_000_000_000  # of training items in memory, at the model's size


@dataclass(frozen=True)
class Plan:
    """The items to compare, the items to train an extractor on, and the conditions of generated items.

    `unseen_train` are the training items that the extractor is not trained on; `extractor_items` those that it is.
    """

    pipeline: Pipeline
    modality: Modality[Any]
    judge: Judge[Any]
    codec: Codec[Any]  # of raw items
    splits: Splits
    real: Split
    train: Split | None
    unread_train: int  # training items that are too many to read
    unseen_train: Split | None
    extractor_items: Split | None
    condition: dict[str, list[Any]]
    labels: list[str] | None
    count: int
    seed: int
    target: str | None
    quick: bool

    def note_fewer(self, made: int, results: Results) -> None:
        """Say in the results how many items more are generated where it need not be quick."""
        variable = self.pipeline.model.space.variable_length
        fewer = (min(self.judge.samples, _QUICK_SAMPLES) if variable else self.count) - made
        if fewer > 0:
            reason = f"{made:,} were generated, to keep it quick; leave out --quick"
            results.skip(reason, f"{fewer:,} further generated {self.modality.plural}")

    def as_seen(self, split: Split) -> Iterator[Any]:
        """Yield the items of a split as a perfect model would generate them."""
        return (self.judge.as_seen(block, self.codec) for block in split.blocks())


def make_plan(
    pipeline: Pipeline,
    *,
    data: Any,
    source: Any,
    label: str | None,
    target: str | None,
    extractor: str | Path | None,
    count: int | None,
    seed: int,
    quick: bool,
) -> Plan:
    """Return the plan of an evaluation. Raises UserError where there is too little to judge by."""
    own = modality(pipeline.modality)
    judge, codec = judge_of(own), innermost(pipeline.codec)
    splits = open_splits(pipeline, judge, data=data, source=source, label=label)
    real = splits.real.sample(_QUICK_REAL if quick else _MOST_REAL, seed).without_unreadable()
    least = 1 if judge.cuts else LEAST
    if len(real) < least:
        raise UserError(f"{splits.description} holds {len(real)} items; expected at least {least}, better hundreds")
    if count is not None and count < LEAST:
        raise UserError(f"-n {count} is too few to judge a model by; expected at least {LEAST}, better hundreds")
    _check_target(target, real, own, judge)
    most = min(_QUICK_TRAIN if quick else judge.max_train, _BYTES // codec.space.dimensions)
    sampled = splits.train.sample(most) if splits.train else None
    train = sampled.without_unreadable() if sampled else None
    unseen_train = extractor_items = train
    if train and judge.trained_extractor and str(extractor) != MODEL and not is_pretrained(extractor):
        unseen_train, extractor_items = split_train(train, _MOST_REAL)
    samples = count or (min(_quick_samples(pipeline, real), judge.samples) if quick else judge.samples)
    if count is None and unseen_train and not judge.cuts:
        samples = min(samples, max(LEAST, len(unseen_train)))
    condition, labels, samples = _conditions(pipeline, own, real, samples, splits.label)
    return Plan(
        pipeline=pipeline,
        modality=own,
        judge=judge,
        codec=codec,
        splits=splits,
        real=real,
        train=train,
        unread_train=len(splits.train) - len(sampled) if splits.train and sampled else 0,
        unseen_train=unseen_train,
        extractor_items=extractor_items,
        condition=condition,
        labels=labels,
        count=samples,
        seed=seed,
        target=target,
        quick=quick,
    )


def _quick_samples(pipeline: Pipeline, real: Split) -> int:
    """Return how many items a quick evaluation generates: fewer of long ones.

    It counts tokens and no seconds, so that their number does not depend on the machine.
    """
    space = pipeline.model.space
    if not space.variable_length or len(real) < _QUICK_FEWEST:  # few long items are compared in passages
        return _QUICK_SAMPLES
    lengths = [
        (pipeline.codec.encode(pipeline.codec.align(block)) != space.padding).flatten(1).sum(1).double()
        for block in real.sample(_QUICK_FEWEST).blocks()
    ]
    most = int(_QUICK_TOKENS / float(torch.cat(lengths).mean()))
    return min(_QUICK_SAMPLES, max(_QUICK_FEWEST, most))


def _check_target(target: str | None, real: Split, own: Modality[Any], judge: Judge[Any]) -> None:
    """Raise UserError where the target is no column that could be predicted."""
    if target is None:
        return
    names = judge.targets(own.concatenate(list(real.take(np.arange(1)).blocks())))
    if not names:
        raise UserError(f"--target names a column to predict, and {own.plural} have none; drop it")
    if target not in names:
        raise unknown("column", target, names)


def _conditions(
    pipeline: Pipeline, own: Modality[Any], real: Split, count: int, label: str | None
) -> tuple[dict[str, list[Any]], list[str] | None, int]:
    """Return the conditions of generated items, their labels, and how many there can be.

    Classes are as frequent as among held-out items; conditions that are items are those of held-out items.
    """
    condition: dict[str, list[Any]] = {}
    classes = {name: codec for name, codec in pipeline.conditions.items() if codec.classes}
    columns = [real.source.columns.get(name, []) for name in classes]
    joint: list[tuple[str, ...]] = []
    if all(columns):  # all classes of an item together, because they may depend on each other
        joint = sorted(tuple(column[index] for column in columns) for index in real.indices.tolist())
        known = [set(codec.classes) for codec in classes.values()]
        joint = [one for one in joint if all(value in names for value, names in zip(one, known, strict=True))]
    for name in pipeline.conditions:
        if name not in classes:
            items = own.concatenate(list(real.sample(count).blocks()))
            count = min(count, len(items))
            condition[name] = [own.take(items, [index])[0] for index in range(count)]
    # In random order, so that no batch is of one class.
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    for number, (name, codec) in enumerate(classes.items()):
        values = [one[number] for one in joint] or list(codec.classes)
        condition[name] = [values[index * len(values) // count] for index in order]
    return {name: values[:count] for name, values in condition.items()}, condition.get(label or ""), count


def check_data(plan: Plan, new: bool, results: Results) -> Plan:
    """Return the plan without training items among the held-out ones; `new`: these are not of the training source.

    Raises UserError where most of them are training items.
    """
    splits, train = plan.splits, plan.train
    real = remove_training_items(splits, plan.real, train, plan.judge, plan.codec, new, results)
    if train is None:
        results.skip(splits.reason, "values of real data")
    elif plan.unread_train:
        reason = f"{len(train):,} others, a random sample, were read"
        results.skip(reason, f"copies of {plan.unread_train:,} training items")
    return replace(plan, real=real)


def choose_extractor(
    plan: Plan,
    name: str | Path | None,
    weights: str | Path | None,
    folder: Path | None,
    results: Results,
    advance: Advance | None = None,
) -> tuple[Plan, Extractor[Any]]:
    """Return the extractor, and the plan without the items that it had to be trained on.

    The default one is saved in `folder`; a quick evaluation neither saves nor restores one. Raises UserError on one
    that is unknown or does not fit.
    """
    check_weights_flag(name, weights)
    saves = folder / "evaluation" / "extractor" if folder is not None and plan.train is not None else None
    items = plan.extractor_items
    if name is not None and name != OWN:
        if items is not None and items is not plan.unseen_train and training_digest(Path(str(name))) != items.digest():
            results.skip(
                "it was trained for another model: where that was on training items of this one, it treats them "
                "differently from others",
                "whether the extractor has seen the items that it compares",
            )
        return plan, open_extractor(name, weights, pipeline=plan.pipeline)
    if items is None:
        items = plan.real
        if plan.judge.trained_extractor and saved_extractor(plan.pipeline, saves, "") is None:
            items = plan.real.sample(len(plan.real) // 2, plan.seed + 1)
            plan = replace(plan, real=exclude(plan.real, np.isin(plan.real.indices, items.indices)))
            reason = "they had to train the extractor, because the training items cannot be read"
            results.skip(reason, "half of the held-out items")
    if plan.quick:
        blocks = plan.as_seen(items)
        return plan, plan.judge.quick_extractor(blocks, items.labels, codec=plan.codec, seed=0, advance=advance)
    extractor = fit_or_restore(
        plan.judge,
        pipeline=plan.pipeline,
        folder=saves,
        blocks=plan.as_seen(items),
        labels=items.labels,
        codec=plan.codec,
        trained_on=items.digest() if plan.train is not None else "",
        advance=advance,
    )
    return plan, extractor
