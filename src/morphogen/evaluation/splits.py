"""The data of an evaluation: what was held out when the model was fitted, and what it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadItem, UserError, unknown
from ..core.judge import Judge
from ..core.records import SplitRecord, read_record
from ..data.encode import chunks
from ..data.fingerprint import source_digest
from ..data.remembered import remembered
from ..data.sources import Source, open_source
from ..pipeline import Pipeline

Indices = NDArray[np.int64]
_REFIT = "remove it and give --data, or fit again"
_LEAST_TRAINED = 10  # items that an extractor is trained on


@dataclass(frozen=True)
class Split:
    """Some items of a source: their indices, and their labels if there are any."""

    source: Source
    indices: Indices
    labels: list[str] | None = None
    readable: bool = False  # whether every item is known to be readable

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: NDArray[np.int64]) -> Split:
        """Return the items at these positions of the split."""
        labels = [self.labels[position] for position in positions.tolist()] if self.labels else None
        return replace(self, indices=self.indices[positions], labels=labels)

    def sample(self, limit: int, seed: int = 0) -> Split:
        """Return at most so many items, a random sample by their names, so that their order does not matter."""
        if len(self) <= limit:
            return self
        names = [f"{seed}:{name}".encode("utf-8", "replace") for name in self._names()]
        hashes = [hashlib.blake2b(name, digest_size=8).digest() for name in names]
        return self.take(np.sort(np.argsort(np.array(hashes, dtype="S8"), kind="stable")[:limit]))

    def digest(self) -> str:
        """Return a digest of the names of the items."""
        return hashlib.sha256("\0".join(sorted(self._names())).encode("utf-8", "replace")).hexdigest()[:16]

    def blocks(self) -> Iterator[Any]:
        """Yield the items in collections of some hundreds."""
        return chunks(self.source, self.indices)

    def without_unreadable(self) -> Split:
        """Return the items that can be read."""
        if self.readable or not len(self) or self.source.block(self.indices[:1]) is not None:
            return self
        positions = []
        for position, index in enumerate(self.indices.tolist()):
            try:
                self.source.read(index)
            except BadItem:
                continue
            positions.append(position)
        return replace(self.take(np.array(positions, dtype=np.int64)), readable=True)

    def _names(self) -> list[str]:
        names = self.source.item_names()
        return [names[index] for index in self.indices.tolist()]


@dataclass(frozen=True)
class Splits:
    """The held-out items and the training items; `reason` says why there are no training items.

    `known` are the training items and those that selected the best weights.
    """

    real: Split
    train: Split | None
    known: Split | None
    description: str  # of the held-out items
    reason: str = ""
    label: str | None = None  # the column of the labels
    note: str = ""  # what the user should know of the choice of items


def open_splits(
    pipeline: Pipeline, judge: Judge[Any], *, data: Any = None, source: Any = None, label: str | None = None
) -> Splits:
    """Return the split that the fit recorded, or `data`, which the model has not seen, as held-out items.

    `source` is where the training source is now, if it moved; where `data` is that source, its held-out part is taken.
    Raises UserError where nothing is held out, or the source has changed; with `data`, that is only the reason why
    there are no training items.
    """
    record = _recorded_split(pipeline)
    classes = (name for name, codec in pipeline.conditions.items() if codec.classes)
    column = label or next(classes, "label")
    new, note = (None, "") if data is None else (_open_new(data, pipeline, record), "")
    if new is not None and record is not None and record.get("digest") == source_digest(new):
        note = f"{new.description} is what the model was fitted to; it is judged by the part that was held out then"
        source, new = new, None
    opened, reason = _training_source(pipeline, record, source, needed=source is not None or new is None)
    train = known = None
    if opened is not None and record is not None:
        every = np.arange(len(opened))
        if max([*record["held_out"], *record["validation"]], default=0) >= len(opened):
            raise UserError(f"split.json names more items than the {len(opened)} of {opened.description}; {_REFIT}")
        held_out = np.isin(every, np.asarray(record["held_out"], dtype=np.int64))
        inside = np.flatnonzero(~(held_out if opened.test is None else np.asarray(opened.test)))
        known = _split(opened, inside, column)
        train = _split(opened, inside[~np.isin(inside, record.get("validation", ()))], column)
    if new is not None:
        # All passages of one long item are new: its test part is only a matter of fitting.
        every_item = new.test is None or judge.cuts
        real = _split(new, np.arange(len(new)) if every_item else np.flatnonzero(np.asarray(new.test)), column)
        description = new.description
    elif opened is None or record is None:
        raise UserError(f"{reason}; give --source with its present place, or --data with items the model has not seen")
    elif not record["held_out"]:
        raise UserError(f"nothing of {record['source']} was held out, because it is too small; give --data SOURCE")
    else:
        real = _split(opened, np.asarray(record["held_out"], dtype=np.int64), column)
        description = f"the held-out part of {record['source']}"
    if label is not None and label not in real.source.columns:
        raise unknown("column", label, real.source.columns)
    return Splits(real, train, known, description, reason, column, note)


def _open_new(data: Any, pipeline: Pipeline, record: dict[str, Any] | None) -> Source:
    """Return other items, opened as the training source was where that is possible."""
    opening = (record or {}).get("opening", {})
    try:
        return open_source(data, pipeline.modality, opening.get("column"), opening.get("separator"))
    except UserError:
        if not any(opening.values()):
            raise
        return open_source(data, pipeline.modality)


def _recorded_split(pipeline: Pipeline) -> dict[str, Any] | None:
    file = pipeline.folder / "split.json" if pipeline.folder else None
    return read_record(file, SplitRecord, _REFIT).model_dump() if file and file.exists() else None


def _training_source(
    pipeline: Pipeline, record: dict[str, Any] | None, source: Any, *, needed: bool
) -> tuple[Source | None, str]:
    """Return the unchanged training source, or the reason why it is absent.

    Raises UserError where it is `needed` and has changed.
    """
    if record is None:
        return None, "the model folder has no split.json, which records the held-out items"
    spec = source if source is not None else record.get("spec")
    if source is None and spec is not None and pipeline.folder and (pipeline.folder / spec).exists():
        spec = pipeline.folder / spec
    if spec is None:
        spec = remembered(pipeline.artifact)
    if spec is None:
        return None, f"the model was fitted to {record['source']}, which was given in memory"
    opening = record.get("opening", {})
    try:
        opened = open_source(spec, pipeline.modality, opening.get("column"), opening.get("separator"))
    except UserError as error:
        if source is not None:
            raise
        return None, f"the training source cannot be opened: {error}"
    if record.get("digest") == source_digest(opened):
        return opened, ""
    reason = f"{opened.description} is not what the model was fitted to: items were added, removed or changed since"
    if not needed:
        return None, reason
    raise UserError(
        f"{reason}, so the held-out items cannot be identified; restore it, or give --data with items that the model "
        "has not seen, and no --source"
    )


def _split(source: Source, indices: Indices, label: str) -> Split:
    column = source.columns.get(label)
    labels = [column[index] for index in indices.tolist()] if column is not None else None
    if labels is not None and len({name for name in labels if name}) < 2:
        labels = None
    return Split(source, indices, labels)


def split_train(train: Split, limit: int) -> tuple[Split, Split]:
    """Return the training items to compare, half of them and at most `limit`, and those to train an extractor on.

    With fewer than 20, both are all of them. Every class keeps an item to train on.
    """
    if len(train) < 2 * _LEAST_TRAINED:
        return train, train
    compared = np.isin(train.indices, train.sample(min(len(train) // 2, limit)).indices)
    if train.labels:
        learned = {label for label, out in zip(train.labels, compared, strict=True) if not out}
        compared &= np.array([label in learned for label in train.labels])
    return exclude(train, ~compared), exclude(train, compared)


def exclude(split: Split, hits: Sequence[bool] | NDArray[np.bool_]) -> Split:
    """Return the items that are not hit."""
    return split.take(np.flatnonzero(~np.asarray(hits, dtype=np.bool_)))
