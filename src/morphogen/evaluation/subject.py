"""All that an evaluation has read of a model and its data, which the figures are computed of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.extractor import Extractor
from ..pipeline import Pipeline
from .chance import CERTAIN
from .metrics.discrepancy import in_words
from .report.material import Material
from .results import Check, ClassResult, ColumnResult, Figure, NotMeasured


@dataclass
class Sample:
    """Items of one side, in an order that only their content settles, with their features `(N, d)` and labels."""

    items: Any
    features: Tensor
    labels: list[str] | None = None

    def __len__(self) -> int:
        return len(self.features)

    def labelled(self) -> Sample:
        """Those whose label is known."""
        assert self.labels is not None
        return self.take([at for at, label in enumerate(self.labels) if label])

    def take(self, indices: Sequence[int] | Tensor) -> Sample:
        chosen = torch.as_tensor(indices).tolist()
        labels = [self.labels[at] for at in chosen] if self.labels else None
        return Sample(taken(self.items, chosen), self.features[chosen], labels)


@dataclass
class Subject:
    """The three sides, and the model.

    `fresh` are the training items that the extractor was not trained on, so that it sees them as it sees held-out ones;
    `as_many` are of these no more than there are generated ones.
    """

    pipeline: Pipeline
    codec: Codec[Any]  # that of items themselves, whatever models lie in front of it
    extractor: Extractor[Any]
    seed: int
    real: Sample
    generated: Sample
    train: Sample | None
    fresh: Sample | None
    as_many: Sample | None
    floor: Sample | None
    corpus: Any = None  # of texts that were cut, the training texts whole
    cut: bool = False
    label: str | None = None
    target: str | None = None  # of rows, the column that a downstream model learns
    alike: float | None = None  # the probability of so large a discrepancy of training items from held-out ones

    @property
    def shifted(self) -> str:
        """Why training and held-out items cannot be compared, in words; empty where they can."""
        if self.alike is None or self.alike >= CERTAIN:
            return ""
        return (
            f"held-out items differ from training items by themselves ({in_words(self.alike)}), as a later part of one "
            "text does, or pictures of another day, so that nearness to the training items tells nothing of the model"
        )


@dataclass
class Findings:
    """What was found so far."""

    figures: list[Figure] = field(default_factory=list)
    not_measured: list[NotMeasured] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    classes: list[ClassResult] = field(default_factory=list)
    columns: list[ColumnResult] = field(default_factory=list)
    material: Material = field(default_factory=Material)

    def lacks(self, name: str, why: str) -> None:
        self.not_measured.append(NotMeasured(name=name, why=why))


def taken(items: Any, indices: list[int]) -> Any:
    """Some of the items of a collection of any modality."""
    return items.take(indices) if hasattr(items, "take") else [items[at] for at in indices]


def one_of(items: Any, at: int) -> Any:
    """One item of a collection: of a table a row, by the names of its columns."""
    return items.slice(at, 1).to_pylist()[0] if hasattr(items, "to_pylist") else items[at]


def joined(parts: Sequence[Any]) -> Any:
    """Collections of items as one."""
    if parts and hasattr(parts[0], "take"):
        import pyarrow as arrow

        return arrow.concat_tables(parts).combine_chunks()
    return [item for part in parts for item in part]
