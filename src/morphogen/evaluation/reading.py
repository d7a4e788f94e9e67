"""From the items of a model and its data to what the figures are computed of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..core import plugins
from ..core.codec import Codec, RowCodec
from ..core.condition import LabelCodec
from ..core.errors import UserError
from ..core.extractor import Extractor
from ..pipeline import Pipeline
from .likeness import in_order
from .results import Check
from .sides import Side, Sides, excerpts, fingerprints, overlap, without
from .subject import Findings, Sample, Subject, joined, taken
from .texts.passages import length_of, passages, spread

_MOST_CUT = 20_000  # passages of a side
_BLOCK = 1024  # items


def conditions(
    pipeline: Pipeline, real: Side, count: int, label: str | None
) -> tuple[dict[str, list[Any]], list[str] | None, int]:
    """What generated items are asked to be: of the classes that held-out items have, as often; of smaller pictures
    those of held-out ones. With the labels, and how many there can be.
    """
    condition: dict[str, list[Any]] = {}
    classes = {name: codec for name, codec in pipeline.conditions.items() if isinstance(codec, LabelCodec)}
    columns = [real.source.columns.get(name, []) for name in classes]
    every: list[tuple[str, ...]] = []
    if all(columns):  # of each held-out item all its classes together, for they may hang on each other
        every = sorted(tuple(column[at] for column in columns) for at in real.indices.tolist())
        known = [set(codec.names) for codec in classes.values()]
        every = [one for one in every if all(a in names for a, names in zip(one, known, strict=True))]
    for name in pipeline.conditions:
        if name not in classes:
            items = joined(list(real.some(count).blocks()))
            count = min(count, len(items))
            condition[name] = items[:count]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()  # or all of one class first
    for number, (name, codec) in enumerate(classes.items()):
        values = [one[number] for one in every] or list(codec.names)
        condition[name] = [values[at * len(values) // count] for at in order]
    return {name: values[:count] for name, values in condition.items()}, condition.get(label or ""), count


def not_trained_on(
    real: Side, train: Side | None, codec: Codec[Any], found: Sides, foreign: bool, findings: Findings
) -> Side:
    """The items less those that the model was trained on. Raises UserError where that is most of them."""
    name = "training items in the evaluation"
    if train is None:
        findings.lacks(name, f"could not be looked for: {found.why}")
        return real
    # Of items from elsewhere, all that the model was trained on, and not only those that are looked at.
    every = found.known if foreign and found.known else train
    shared = overlap(fingerprints(codec, real.blocks()), fingerprints(codec, every.blocks()))
    if foreign and every.source.modality == "text":
        texts = [joined(list(side.blocks())) for side in (real, every)]
        shared = replace(shared, hits=shared.hits | excerpts(*texts))
    says = f"{shared.count:,} of {len(real):,} items to judge by are training items"
    if shared.expected >= 1:
        says += f"; of as many new ones {shared.expected:,.0f} would be, for many items are found twice"
    if shared.smuggled and foreign:
        if shared.count > len(real) / 2:
            raise UserError(
                f"{says}: the model has seen {found.data}. Give --data with items that it was not trained on, or none "
                "for those held out"
            )
        says += "; they were left out"
        findings.checks.append(Check(name=name, found=True, says=f"{says}."))
        return without(real, shared.hits)
    findings.checks.append(Check(name=name, found=shared.smuggled, says=f"{says}."))
    return real


def seen(features: Any, codec: Codec[Any], blocks: Any) -> Any:
    """Items as the model could have made them, where the modality tells a difference."""
    fitting = getattr(features, "seen", None)
    return (fitting(block, codec) for block in blocks) if fitting else blocks


def read_subject(
    pipeline: Pipeline,
    codec: Codec[Any],
    extractor: Extractor[Any],
    real: Side,
    train: Side | None,
    fresh: Side | None,
    generated: list[Any],
    labels: list[str] | None,
    seed: int,
    label: str | None,
) -> Subject:
    """The items and their features; `fresh` is the part of `train` that the extractor was not trained on, or all."""
    features = plugins.load("modalities", pipeline.modality, "features")

    def read(side: Side) -> tuple[Any, list[str] | None]:
        side = side.readable()
        return joined(list(seen(features, codec, side.blocks()))), side.labels

    made = joined(generated) if isinstance(pipeline.codec, RowCodec) else generated
    items = {"real": read(real), "generated": (made, labels)}
    if train is not None and fresh is not None:
        items["fresh"] = read(fresh)
        if len(fresh) < len(train):
            items["others"] = read(without(train, np.isin(train.indices, fresh.indices)))
    corpus = items["fresh"][0] if "fresh" in items else None
    cut = False
    if pipeline.modality == "text" and (length := length_of(items["real"][0], made)):
        cut = True
        items = {side: (spread(passages(texts, length), _MOST_CUT), None) for side, (texts, _) in items.items()}
    found = {side: _sample(extractor, codec, *one) for side, one in items.items()}
    count = len(found["generated"])
    as_many = _drawn(found["fresh"], count, seed) if "fresh" in found else None
    base = as_many or found["real"]
    floor = _sample(extractor, codec, features.floor(base.items, seed), None)
    every = [found[side] for side in ("fresh", "others") if side in found]
    return Subject(
        pipeline=pipeline,
        codec=codec,
        extractor=extractor,
        seed=seed,
        real=found["real"],
        generated=found["generated"],
        train=_together(every) if len(every) > 1 else found.get("fresh"),
        fresh=found.get("fresh"),
        as_many=as_many,
        floor=floor,
        corpus=corpus,
        cut=cut,
        label=label,
    )


def _sample(extractor: Extractor[Any], codec: Codec[Any], items: Any, labels: list[str] | None) -> Sample:
    """Items with their features, in an order that only these settle."""
    # Also what is looked at in one batch: the last bits of features hang on that.
    blocks = (
        taken(items, list(range(start, min(start + _BLOCK, len(items))))) for start in range(0, len(items), _BLOCK)
    )
    order = np.argsort(fingerprints(codec, blocks), kind="stable").tolist()
    items, labels = taken(items, order), [labels[at] for at in order] if labels else None
    parts = [
        extractor.features(taken(items, list(range(start, min(start + extractor.at_once, len(items))))))
        for start in range(0, len(items), extractor.at_once)
    ]
    features = torch.cat(parts) if parts else torch.empty(0, 1)
    return Sample(items, features, labels).take(in_order(features))


def _together(samples: Sequence[Sample]) -> Sample:
    labels = [one.labels for one in samples]
    return Sample(
        joined([one.items for one in samples]),
        torch.cat([one.features for one in samples]),
        [label for some in labels for label in some or ()] if all(labels) else None,
    )


def _drawn(train: Sample, count: int, seed: int) -> Sample:
    """So many of the training items."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    return train.take(order[:count].sort().values)
