"""The encoded training data of a fit, and the batches that training reads from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.errors import UserError
from ..core.files import guard, inside
from ..core.model import Batch
from ..data.loader import batch_indices
from ..data.store import EncodedStore
from ..model_folder import load_codec
from .spec import FitSpec, Prepared

_AGAIN = "remove the folder and fit again"
_INITIAL_BATCH = 256  # items that `GenerativeModel.initialize` reads at once


@dataclass(frozen=True)
class Dataset:
    """Encoded examples and the conditions of each: the first `examples` to train on, `validation` those after them."""

    store: EncodedStore
    conditions: dict[str, Tensor | EncodedStore]
    examples: int
    validation: range

    def batch(self, indices: Tensor, device: torch.device) -> Batch:
        """Return the examples at those indices."""
        x = self.store.read(indices).to(device)
        return Batch(x, {name: _read(values, indices).to(device) for name, values in self.conditions.items()})

    def head(self, count: int, device: torch.device) -> Batch:
        """Return the first `count` examples, from the start again where there are fewer."""
        return self.batch(torch.arange(count) % self.examples, device)


@dataclass(frozen=True)
class Batches:
    """The batches of one process among several, each in `micro` parts."""

    dataset: Dataset
    device: torch.device
    size: int  # of a batch, over all processes
    micro: int
    seed: int
    process: int
    processes: int

    def training(self, step: int) -> list[Batch]:
        """Return this process's share of the batch of a step, as micro-batches."""
        indices = batch_indices(
            seed=self.seed,
            step=step,
            batch_size=self.size,
            count=self.dataset.examples,
            rank=self.process,
            ranks=self.processes,
        )
        return [self.dataset.batch(part, self.device) for part in indices.tensor_split(self.micro)]

    def initial(self, most: int) -> Iterator[Batch]:
        """Yield at most so many training examples, the same in all processes."""
        indices = spread(0, self.dataset.examples, most)
        return (self.dataset.batch(part, self.device) for part in indices.split(_INITIAL_BATCH))

    def validation(self, indices: Tensor) -> Iterator[Batch]:
        """Yield the examples at those indices, no more at once than in training, for which there is the memory."""
        most = max(1, self.size // self.processes // self.micro)
        return (self.dataset.batch(part, self.device) for part in indices.split(most))


def spread(start: int, stop: int, most: int) -> Tensor:
    """Return at most so many of the numbers from start to before stop, evenly: data may be sorted by class."""
    return torch.linspace(start, stop - 1, min(most, stop - start), dtype=torch.float64).long()


def open_dataset(out: Path, spec: FitSpec, prepared: Prepared) -> tuple[Codec[Any], dict[str, Codec[Any]], Dataset]:
    """Return the codec, the codecs of the conditions, and the data that `prepare` left in a folder."""
    folder = out / "training"
    codec = load_codec(spec.modality, out / "codec")
    conditions = {name: load_codec(spec.modality, inside(out / "conditions", name)) for name in spec.condition_names}
    values: dict[str, Tensor | EncodedStore] = {
        name: _load_labels(inside(folder, f"condition-{name}.npy"))
        if condition.classes
        else EncodedStore(inside(folder, f"condition-{name}.store"))
        for name, condition in conditions.items()
    }
    store = EncodedStore(folder / "train.store")
    if not 0 < prepared.examples <= prepared.validation_start <= len(store):
        raise UserError(f"{folder} holds {len(store)} examples, and not those of {Prepared.file}; {_AGAIN}")
    if short := [name for name, one in values.items() if len(one) != len(store)]:
        raise UserError(f"{folder} holds {len(store)} examples, and other values of '{short[0]}'; {_AGAIN}")
    if store.space != codec.space:
        raise UserError(f"{store.path} holds examples of {store.space}, and the codec maps to {codec.space}; {_AGAIN}")
    validation = range(prepared.validation_start, len(store))
    return codec, conditions, Dataset(store, values, prepared.examples, validation)


def _read(values: Tensor | EncodedStore, indices: Tensor) -> Tensor:
    return values.read(indices) if isinstance(values, EncodedStore) else values[indices]


def _load_labels(file: Path) -> Tensor:
    with guard(file, "cannot be read", _AGAIN):
        labels = torch.from_numpy(np.lib.format.open_memmap(file, mode="r").copy())
    if labels.dtype != torch.int64 or labels.dim() != 2 or labels.shape[1] != 1:
        raise UserError(f"{file} holds {labels.dtype} of shape {tuple(labels.shape)}, and no labels; {_AGAIN}")
    return labels
