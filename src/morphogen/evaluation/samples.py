"""Samples with their features: computing, joining and selecting them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ..core.codec import Codec
from ..core.extractor import Extractor
from ..core.judge import Judge, Sample
from ..core.modality import Modality
from ..metrics.statistics.order import content_order
from .overlap import content_hashes

_BLOCK = 1024  # items


def take(sample: Sample[Any], indices: Iterable[int], modality: Modality[Any]) -> Sample[Any]:
    """Return some items of a sample, in that order."""
    chosen = list(indices)
    labels = [sample.labels[index] for index in chosen] if sample.labels else None
    return Sample(modality.take(sample.items, chosen), sample.features[chosen], labels)


def make_sample(
    items: Any,
    labels: list[str] | None,
    *,
    extractor: Extractor[Any],
    codec: Codec[Any],
    judge: Judge[Any],
    modality: Modality[Any],
) -> Sample[Any]:
    """Return items with their features, in an order that only their content determines."""
    # Batches have to be the same, too: the last bits of features depend on them.
    hashes = content_hashes(judge, codec, _blocks(items, _BLOCK, modality))
    order = np.argsort(hashes, kind="stable").tolist()
    items, labels = modality.take(items, order), [labels[index] for index in order] if labels else None
    parts = [extractor.features(block) for block in _blocks(items, extractor.at_once, modality)]
    features = torch.cat(parts) if parts else torch.empty(0, 1)
    return take(Sample(items, features, labels), content_order(features).tolist(), modality)


def join(samples: Sequence[Sample[Any]], modality: Modality[Any]) -> Sample[Any]:
    """Return several samples as one."""
    labels = [sample.labels for sample in samples]
    return Sample(
        modality.concatenate([sample.items for sample in samples]),
        torch.cat([sample.features for sample in samples]),
        [label for some in labels for label in some or ()] if all(labels) else None,
    )


def subsample(sample: Sample[Any], count: int, seed: int, modality: Modality[Any]) -> Sample[Any]:
    """Return a random sample of at most so many items."""
    order = torch.randperm(len(sample), generator=torch.Generator().manual_seed(seed))
    return take(sample, order[:count].sort().values.tolist(), modality)


def _blocks(items: Any, size: int, modality: Modality[Any]) -> Iterable[Any]:
    for start in range(0, len(items), size):
        yield modality.take(items, range(start, min(start + size, len(items))))
