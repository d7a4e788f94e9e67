"""The items that an evaluation compares: those held out at fit time, and those that were trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.codec import Codec
from ..core.config import read_json
from ..core.errors import BadItem, UserError, unknown
from ..data.digest import source_digest
from ..data.encode import chunks
from ..data.sources import Source, open_source
from ..pipeline import Pipeline

Indices = NDArray[np.int64]
_EXCERPT = 60  # characters that two texts do not have in common by chance
_LEAST_TRAINED = 10  # items that an extractor is trained on
_TWINS = 3.0  # standard errors beyond what real items do


@dataclass
class Side:
    """Some items of a source: which, and their labels, where there are any."""

    source: Source
    indices: Indices
    labels: list[str] | None = None
    looked_at: bool = False  # whether all of them can be read

    def __len__(self) -> int:
        return len(self.indices)

    def some(self, most: int, seed: int = 0) -> Side:
        """At most so many, drawn by the names of the items, so that their order does not matter."""
        if len(self) <= most:
            return self
        every = self.source.item_names()
        names = [every[index] for index in self.indices.tolist()]
        words = [hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "replace"), digest_size=8).digest() for name in names]
        chosen = np.sort(np.argsort(np.array(words, dtype="S8"), kind="stable")[:most])
        labels = [self.labels[at] for at in chosen.tolist()] if self.labels else None
        return Side(self.source, self.indices[chosen], labels, self.looked_at)

    def digest(self) -> str:
        """What tells which items these are, by their names."""
        every = self.source.item_names()
        names = sorted(every[index] for index in self.indices.tolist())
        return hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest()[:16]

    def blocks(self) -> Iterator[Any]:
        """Their items, some at a time."""
        return chunks(self.source, self.indices)

    def readable(self) -> Side:
        """Those that can be read."""
        if self.looked_at or not len(self) or self.source.block(self.indices[:1]) is not None:
            return self
        good = []
        for at, index in enumerate(self.indices.tolist()):
            try:
                self.source.read(index)
            except BadItem:
                continue
            good.append(at)
        labels = [self.labels[at] for at in good] if self.labels else None
        return Side(self.source, self.indices[good], labels, looked_at=True)


@dataclass
class Sides:
    """What is held out, and what was trained on; `why` says why the second is not there.

    `known` is the second with what told during the fit which weights are best.
    """

    real: Side
    train: Side | None
    known: Side | None
    data: str  # the first in words
    why: str = ""
    label: str | None = None  # the column of the labels


def sides(pipeline: Pipeline, *, data: Any = None, source: Any = None, label: str | None = None) -> Sides:
    """The split that the fit remembered, or `data`, which the model has not seen.

    `source` is where the training source is now, where it has moved. Raises UserError where nothing is held out, or
    the source is not what it was; beside `data` that is only the reason why training items are not there.
    """
    split = _remembered(pipeline)
    asked = label
    label = label or next((name for name, codec in pipeline.conditions.items() if hasattr(codec, "names")), "label")
    opened, why = _training_source(pipeline, split, source, needed=source is not None or data is None)
    train = known = None
    if opened is not None and split is not None:
        held = np.asarray(split["held_out"], dtype=np.int64)
        every = np.arange(len(opened))
        inside = every[~np.isin(every, held)] if opened.test is None else np.flatnonzero(~np.asarray(opened.test))
        known = _side(opened, inside, label)
        train = _side(opened, inside[~np.isin(inside, split.get("validation", ()))], label)
    if data is not None:
        other = _opened(data, pipeline, split)
        if asked is not None and asked not in other.columns:
            raise unknown("column", asked, other.columns)
        # Of one single text all is new: that its end would be held out is a matter of fitting.
        whole = other.test is None or pipeline.modality == "text"
        indices = np.arange(len(other)) if whole else np.flatnonzero(np.asarray(other.test))
        return Sides(_side(other, indices, label), train, known, other.description, why, label)
    if opened is None:
        raise UserError(f"{why}; give --source, where it is now, or --data, items that the model has not seen")
    assert split is not None
    if not split["held_out"]:
        raise UserError(f"nothing of {split['source']} was held out, for it is too small; give --data SOURCE")
    if asked is not None and asked not in opened.columns:
        raise unknown("column", asked, opened.columns)
    real = _side(opened, np.asarray(split["held_out"], dtype=np.int64), label)
    return Sides(real, train, known, f"the held-out part of {split['source']}", why, label)


def _opened(data: Any, pipeline: Pipeline, split: dict[str, Any] | None) -> Source:
    """Other items, opened as the training source was where that fits them."""
    opening = (split or {}).get("opening", {})
    column, separator = opening.get("column"), opening.get("separator")
    if column is None and separator is None:
        return open_source(data, pipeline.modality)
    try:
        return open_source(data, pipeline.modality, column, separator)
    except UserError:
        return open_source(data, pipeline.modality)


def _remembered(pipeline: Pipeline) -> dict[str, Any] | None:
    file = pipeline.folder / "split.json" if pipeline.folder else None
    return read_json(file) if file and file.exists() else None


def _training_source(
    pipeline: Pipeline, split: dict[str, Any] | None, source: Any, *, needed: bool
) -> tuple[Source | None, str]:
    """The source as it was at fit time, or why it is not to be had. Raises UserError if it is `needed` and differs."""
    if split is None:
        return None, "the model folder has no split.json, which tells what was held out"
    spec = source if source is not None else split.get("spec")
    if source is None and spec is not None and pipeline.folder and (pipeline.folder / spec).exists():
        spec = pipeline.folder / spec
    if spec is None:
        return None, f"the model was fitted to {split['source']}, which was given in memory"
    opening = split.get("opening", {})
    try:
        opened = open_source(spec, pipeline.modality, opening.get("column"), opening.get("separator"))
    except UserError as error:
        if source is not None:
            raise
        return None, f"the training source is not to be had: {error}"
    digest = split.get("digest")
    # Folders of earlier versions have none; then their number at least has to be what it was.
    count = split.get("train", 0) + sum(len(split.get(part, ())) for part in ("validation", "held_out", "skipped"))
    if digest != source_digest(opened) if digest is not None else len(opened) != count:
        found = opened.description
        differs = f"{found} is not what the model was fitted to: items were added, removed or changed since"
        if not needed:
            return None, differs
        raise UserError(
            f"{differs}, so that nobody knows what was held out; restore it, or give --data with items that the model "
            "has not seen, and no --source"
        )
    return opened, ""


def _side(source: Source, indices: Indices, label: str) -> Side:
    column = source.columns.get(label)
    labels = [column[index] for index in indices.tolist()] if column is not None else None
    if labels is not None and len({one for one in labels if one}) < 2:
        labels = None
    return Side(source, indices, labels)


def parted(train: Side, most: int) -> tuple[Side, Side]:
    """Training items to compare, half of them and no more than `most`, and the others, to train an extractor on.

    Of fewer than 20 all are both. A class is never without an item to train on.
    """
    if len(train) < 2 * _LEAST_TRAINED:
        return train, train
    compared = np.isin(train.indices, train.some(min(len(train) // 2, most)).indices)
    if train.labels:
        learned = {label for label, out in zip(train.labels, compared, strict=True) if not out}
        compared &= np.array([label in learned for label in train.labels])
    return without(train, ~compared), without(train, compared)


def fingerprints(codec: Codec[Any], blocks: Iterator[Any]) -> NDArray[np.uint64]:
    """A number for each item that its content settles, `(N,)`: equal items have equal ones.

    Of texts it is that of the characters, of all else that of what the codec makes of it: the same picture as PNG and
    BMP, or in two sizes, is the same to the model.
    """
    found = []
    for items in blocks:
        if len(items) and isinstance(items[0], str):
            contents = [item.encode("utf-8", "surrogatepass") for item in items]
        else:
            x = codec.encode(items)
            contents = [np.ascontiguousarray(row).tobytes() for row in x.reshape(len(x), -1).numpy()]
        found += [hashlib.blake2b(content, digest_size=8).digest() for content in contents]
    return np.frombuffer(b"".join(found), dtype=np.uint64)


@dataclass(frozen=True)
class Overlap:
    """How many items are training items; `expected` is how many of so many new real ones would be, twins of others."""

    hits: NDArray[np.bool_]
    expected: float

    @property
    def count(self) -> int:
        return int(self.hits.sum())

    @property
    def smuggled(self) -> bool:
        return self.count > self.expected + _TWINS * max(1.0, self.expected) ** 0.5


def overlap(items: NDArray[np.uint64], train: NDArray[np.uint64]) -> Overlap:
    """Which of the items are training items, by their fingerprints."""
    known, counts = np.unique(train, return_counts=True)
    twins = float(counts[counts > 1].sum() / max(1, len(train)))
    return Overlap(np.isin(items, known), twins * len(items))


def excerpts(items: Sequence[str], corpus: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts are pieces of the corpus, or hold one that is most of them: a fingerprint sees whole texts alone."""
    from .texts import longest_copied, meeting

    hits = meeting(items, corpus, _EXCERPT // 2)
    likely = [items[at] for at in np.flatnonzero(hits).tolist()]
    long = [len(one.span) for one in longest_copied(likely, corpus)]
    hits[hits] = [span >= max(_EXCERPT, len(item) / 2) for span, item in zip(long, likely, strict=True)]
    return hits


def without(side: Side, hits: Sequence[bool] | NDArray[np.bool_]) -> Side:
    """The items that are not hit."""
    kept = np.flatnonzero(~np.asarray(hits))
    labels = [side.labels[at] for at in kept.tolist()] if side.labels else None
    return Side(side.source, side.indices[kept], labels, side.looked_at)
