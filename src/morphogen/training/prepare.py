"""From a source to encoded training data on disk: the split, the codecs, the conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.codec import Codec
from ..core.condition import LabelCodec
from ..core.config import write_json
from ..core.errors import UserError
from ..core.files import inside
from ..data.base import Source
from ..data.encode import Encoded, chunks, encode_source, unreadable
from ..data.fingerprint import source_digest
from ..data.split import split_by_hash
from .resolve import Job
from .spec import LOW_RES, Prepared, Say

_MIN_TO_VALIDATE = 200  # training items; of fewer, none is spared for validation
_VALIDATION_SHARE, _MAX_VALIDATION = 0.05, 1_000
_WINDOW_SHARE = 0.025  # of the examples, where these are windows of a few long items: the last ones validate
_FEW_EXAMPLES = 100
_RARE_CLASS = 10  # examples
_CODEC_ITEMS = 4_000  # that a codec is fitted to, spread over the source, unless it has to read all

Indices = NDArray[np.int64]


class Split(NamedTuple):
    """Indices of a source's items."""

    train: Indices
    validation: Indices
    held_out: Indices


def prepare(job: Job, out: Path, say: Say) -> Prepared:
    """Split the source, fit the codecs, and encode the training items into `out/training`.

    The codecs are saved in `out`, and what was held out is noted in `out/split.json`.
    """
    split = _split(job)
    codec = _fit_codec(job, split, say)
    labels = _fit_labels(job, split, say)
    encoded = encode_source(
        job.source,
        codec,
        out / "training" / "train.store",
        split.train,
        split.validation,
        alone=bool(job.spec.condition_names or job.model.no_packing),
    )
    is_validation = np.isin(encoded.indices, split.validation)
    train, validation = encoded.indices[~is_validation], encoded.indices[is_validation]
    examples, validation_start = _validation_start(job, encoded, len(train), len(validation))
    if examples < _FEW_EXAMPLES:
        say(f"only {examples} to train on: expect copies of them; give hundreds")
    problems = unreadable(job.source, split.held_out)
    held_out = split.held_out[[index not in problems for index in split.held_out.tolist()]]
    skipped = [*encoded.skipped, *problems.values()]
    if skipped:
        say(f"skipped {len(skipped)} of {len(job.source)} items that cannot be read: {'; '.join(skipped[:3])}")
    codec.save(out / "codec")
    _encode_low_res(job, codec, encoded, out, say)
    _encode_labels(job, labels, encoded, out)
    write_json(
        out / "split.json",
        {
            "source": job.source.description,
            "spec": job.spec.source,
            "opening": {"column": job.spec.column, "separator": job.spec.separator},
            "digest": source_digest(job.source),
            "modality": job.spec.modality,
            "official": job.source.test is not None,
            "train": len(train),
            "validation": validation.tolist(),
            "held_out": held_out.tolist(),
            "skipped": skipped,
        },
    )
    _say_counts(say, encoded, Split(train, validation, held_out), examples, validation_start)
    return Prepared(
        description=job.source.description,
        examples=examples,
        validation_start=validation_start,
    )


def _split(job: Job) -> Split:
    """Return the source's own split, or one by hash; some training items are for validation, where the model wants."""
    source = job.source
    test = np.asarray(source.test if source.test is not None else split_by_hash(source.item_names()))
    train, held_out = np.flatnonzero(~test), np.flatnonzero(test)
    if not len(train) and source.test is None:
        train, held_out = held_out, train  # of a handful, nothing is held out
    if not len(train):
        raise UserError(f"{source.description} has no training items; add some to its training split")
    validation = _validation_items(source, train, job.spec.conditions) if job.model.early_stopping else train[:0]
    return Split(train[~np.isin(train, validation)], validation, held_out)


def _validation_items(source: Source, train: Indices, conditions: Sequence[str]) -> Indices:
    """Return the training items to validate with: none of a few, never all of a class."""
    if len(train) < _MIN_TO_VALIDATE:
        return train[:0]
    names = source.item_names()
    share = min(_VALIDATION_SHARE, _MAX_VALIDATION / len(train))
    chosen = split_by_hash([names[index] for index in train.tolist()], share=share, seed=1)
    for name in conditions:
        classes = [source.columns[name][index] for index in train.tolist()]
        trained = {label for label, is_validation in zip(classes, chosen, strict=True) if not is_validation}
        chosen &= np.array([label in trained for label in classes])
    return train[chosen]


def _fit_codec(job: Job, split: Split, say: Say) -> Codec[Any]:
    train = split.train
    if job.modality.fits_to_all and job.autoencoder is None:
        read = np.sort(np.concatenate((train, split.validation)))
    else:
        read = train[np.unique(np.linspace(0, len(train) - 1, min(_CODEC_ITEMS, len(train))).astype(int))]
    codec = job.fit_codec(chunks(job.source, read))
    if len(read) < len(train):
        say(f"looked at {len(read):,} of them:")
    for note in codec.notes:
        say(note)
    return codec


def _fit_labels(job: Job, split: Split, say: Say) -> dict[str, LabelCodec]:
    labels = {}
    for name in job.spec.conditions:
        column = job.source.columns[name]
        classes = [column[index] for index in split.train.tolist()]
        labels[name] = LabelCodec.fit([classes])
        counts = Counter(label for label in classes if label)
        rare = [label for label, count in counts.items() if count < _RARE_CLASS]
        few = f"; fewer than {_RARE_CLASS} examples of {', '.join(rare[:5])}" if rare else ""
        absent = sorted(set(column) - set(counts) - {""})
        unlearned = f"; not learned, since all their items are held out: {', '.join(absent[:5])}" if absent else ""
        say(f"condition '{name}': {len(counts)} classes{few}{unlearned}")
    return labels


def _validation_start(job: Job, encoded: Encoded, train_items: int, validation_items: int) -> tuple[int, int]:
    """Return the number of examples to train on, and the first one to validate with."""
    examples = int((encoded.owners < train_items).sum())
    windows = len(encoded.owners) > len(encoded.indices)
    if not job.model.early_stopping or validation_items or not windows or examples < _MIN_TO_VALIDATE:
        return examples, examples
    # Of a few long items the last windows; the one before them overlaps and is left out.
    start = examples - min(max(1, int(_WINDOW_SHARE * examples)), _MAX_VALIDATION)
    return start - 1, start


def _encode_low_res(job: Job, codec: Codec[Any], encoded: Encoded, out: Path, say: Say) -> None:
    if not job.spec.super_resolution:
        return
    low_res = codec.downscaled(job.spec.super_resolution)
    low_res.save(out / "conditions" / LOW_RES)
    encode_source(job.source, low_res, out / "training" / f"condition-{LOW_RES}.store", encoded.indices)
    say(f"condition '{LOW_RES}': the same items, {job.spec.super_resolution} times smaller along each axis")


def _encode_labels(job: Job, labels: dict[str, LabelCodec], encoded: Encoded, out: Path) -> None:
    for name, codec in labels.items():
        codec.save(inside(out / "conditions", name))
        values = codec.encode([job.source.columns[name][index] for index in encoded.indices.tolist()]).numpy()
        np.save(inside(out / "training", f"condition-{name}.npy"), values[encoded.owners], allow_pickle=False)


def _say_counts(say: Say, encoded: Encoded, split: Split, examples: int, validation_start: int) -> None:
    packed = f" in {examples:,} examples" if len(encoded.owners) != len(encoded.indices) else ""
    validation = f", {len(split.validation):,} for validation" if len(split.validation) else ""
    if validation_start > examples:
        validation = f", {len(encoded.owners) - validation_start:,} more examples for validation"
    say(f"{len(split.train):,} items to train on{packed}{validation}, {len(split.held_out):,} held out")
