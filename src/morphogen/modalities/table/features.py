"""Features of rows: their numbers as quantiles on a normal scale, their choices as ones and zeros."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from morphogen.core.extractor import Extractor

from .codec import TableCodec
from .dense import Dense, count_symbols

SAMPLES = 10000  # that are judged, where nothing is said
_MOST = 64  # features of a column of choices


class Rows(Extractor[Any]):
    """The dense codec of the training rows, which needs no training. Keys and personal data are not seen."""

    modality = "table"
    at_once = 8192

    def __init__(self, codec: TableCodec) -> None:
        assert codec.dense is not None
        self.codec, self.dense = codec, codec.dense
        settings, tensors = self.state()
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for _, value in sorted(tensors.items()):
            digest.update(value.contiguous().numpy().tobytes())
        self.name = f"dense-{digest.hexdigest()[:8]}"

    def features(self, items: Any) -> Tensor:
        numbers, choices = self.dense.told(self.codec.symbols(items))
        return torch.cat([numbers, *(_narrowed(one, at) for at, one in enumerate(choices))], dim=1)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return self.codec.state()


def _narrowed(choices: Tensor, column: int) -> Tensor:
    """Ones and zeros of many choices as points on a sphere, about as far from each other as they were."""
    if choices.shape[1] <= _MOST:
        return choices
    random = torch.Generator().manual_seed(column)
    return F.normalize(torch.randn(choices.shape[1], _MOST, generator=random))[choices.argmax(1)]


def own(chunks: Iterable[Any], labels: Sequence[str] | None, *, codec: TableCodec, seed: int) -> Rows:
    """The features of rows as the model's codec takes them; labels and seed change nothing."""
    import pyarrow as arrow

    columns = list(codec.columns.values())
    symbols = codec.symbols(arrow.concat_tables(chunks).combine_chunks())
    dense = Dense(columns, count_symbols(columns, symbols))
    return Rows(TableCodec(codec.schema, codec.taken, codec.columns, codec.extra, [], codec.constraints, dense))


def restored(config: dict[str, Any], tensors: dict[str, Tensor]) -> Rows:
    """What `state` described. Raises ValueError where its tensors are missing."""
    if not tensors:
        raise ValueError("its tensors are missing")
    return Rows(TableCodec.from_state(config, tensors))


def floor(items: Any, seed: int) -> Any:
    """Rows whose columns are right one by one, and have nothing to do with each other."""
    import pyarrow as arrow

    random = np.random.default_rng(seed)
    columns = [column.take(random.permutation(len(items))) for column in items.combine_chunks().columns]
    return arrow.table(columns, schema=items.schema)


def seen(items: Any, codec: TableCodec) -> Any:
    """Rows as the model could have made them, all columns and their precision."""
    return codec.adopted(items)
