"""Features of rows for metrics, which need no training, and the baseline of independent columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphogen.core.extractor import Extractor

from .codec import TableCodec
from .numeric_encoding import NumericEncoding, count_cells


class RowExtractor(Extractor[Any]):
    """The numeric encoding of the training rows; keys, personal data and free text have no features."""

    modality = "table"
    at_once = 8192

    def __init__(self, codec: TableCodec, counts: Sequence[Tensor]) -> None:
        """`counts`: the training rows in each cell of each column, `(size,)`."""
        self.codec, self._encoding = codec, NumericEncoding(list(codec.columns.values()), counts)
        config, tensors = self.state()
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        digest.update(tensors["counts"].contiguous().numpy().tobytes())
        self.name = f"numeric-{digest.hexdigest()[:8]}"

    def features(self, items: Any) -> Tensor:
        return self._encoding.encode(self.codec.encode(items))

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config, _ = self.codec.state()
        return config, {"counts": torch.cat(self._encoding.counts)}


def fit_extractor(blocks: Iterable[Any], labels: Sequence[str] | None, *, codec: TableCodec, seed: int) -> RowExtractor:
    """Return the extractor of training rows as the model's codec encodes them; labels and seed have no effect."""
    counts: list[Tensor] = []
    columns = list(codec.columns.values())
    for block in blocks:
        own = count_cells(columns, codec.encode(block))
        counts = [one + other for one, other in zip(counts, own, strict=True)] if counts else own
    # Without notes, which change no feature and would change the name.
    bare = TableCodec(codec.schema, codec.column_types, codec.columns, codec.unmodelled, [], codec.constraints)
    return RowExtractor(bare, counts)


def restore_extractor(config: dict[str, Any], tensors: dict[str, Tensor]) -> RowExtractor:
    """Return the extractor that `state` described. Raises ValueError where its tensors are missing."""
    if "counts" not in tensors:
        raise ValueError("the tensor 'counts' is missing")
    codec = TableCodec.from_state(config, {})
    return RowExtractor(codec, tensors["counts"].split([column.field.size for column in codec.columns.values()]))


def independent_baseline(items: Any, seed: int) -> Any:
    """Return rows with correct columns and no dependence between them: each column is permuted by itself."""
    import pyarrow as arrow

    random = np.random.default_rng(seed)
    columns = [column.take(random.permutation(len(items))) for column in items.combine_chunks().columns]
    return arrow.table(columns, schema=items.schema)
