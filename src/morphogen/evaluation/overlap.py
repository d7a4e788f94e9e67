"""Contamination: training items among the items that a model is judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.codec import Codec
from ..core.errors import UserError
from ..core.judge import Judge
from ..core.modality import modality
from ..core.results import Check, Results
from .splits import Split, Splits, exclude

CONTAMINATION = "training items in the evaluation data"
_MARGIN = 3.0  # standard errors above what real items do by chance


@dataclass(frozen=True)
class Overlap:
    """Which items are training items; `expected` is how many of as many new real items would be, as duplicates."""

    hits: NDArray[np.bool_]
    expected: float

    @property
    def count(self) -> int:
        return int(self.hits.sum())

    @property
    def contaminated(self) -> bool:
        return self.count > self.expected + _MARGIN * max(1.0, self.expected) ** 0.5


def content_hashes(judge: Judge[Any], codec: Codec[Any], blocks: Iterable[Any]) -> NDArray[np.uint64]:
    """Return a hash of the content of each item, `(N,)`: equal where two items are equal to the model."""
    digests = [
        hashlib.blake2b(content, digest_size=8).digest() for block in blocks for content in judge.contents(block, codec)
    ]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def find_overlap(items: NDArray[np.uint64], train: NDArray[np.uint64]) -> Overlap:
    """Return which items are training items, by the hashes of their contents."""
    known, counts = np.unique(train, return_counts=True)
    duplicates = float(counts[counts > 1].sum() / max(1, len(train)))
    return Overlap(np.isin(items, known), duplicates * len(items))


def remove_training_items(
    splits: Splits, real: Split, train: Split | None, judge: Judge[Any], codec: Codec[Any], new: bool, results: Results
) -> Split:
    """Return the items without those that the model was trained on; `new`: they are not of the training source.

    Raises UserError where most of them are training items.
    """
    if train is None:
        results.skip(f"cannot be checked: {splits.reason}", CONTAMINATION)
        return real
    # New data is compared with everything that the model was trained on, not only with the items that are compared.
    every = splits.known if new and splits.known else train
    overlap = find_overlap(content_hashes(judge, codec, real.blocks()), content_hashes(judge, codec, every.blocks()))
    if new and judge.cuts:
        concatenate = modality(real.source.modality).concatenate
        items, corpus = (concatenate(list(split.blocks())) for split in (real, every))
        overlap = replace(overlap, hits=overlap.hits | judge.contained(items, corpus))
    message = f"{overlap.count:,} of {len(real):,} items of the evaluation data are training items"
    if overlap.expected >= 1:
        message += f"; {overlap.expected:,.0f} of as many new items would be, because the data has duplicates"
    if overlap.contaminated and new:
        if overlap.count > len(real) / 2:
            raise UserError(
                f"{message}: the model has seen {splits.description}. Give --data with items that it was not trained "
                "on, or no --data to use those held out"
            )
        message += "; they were left out"
        real = exclude(real, overlap.hits)
    results.checks.append(Check(name=CONTAMINATION, detected=overlap.contaminated, message=f"{message}."))
    return real
