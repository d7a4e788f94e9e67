"""Arrays as a source: in memory, or from npz and npy files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError
from morphogen.core.files import guard
from morphogen.core.modality import Record

from .base import Source
from .claims import accepted, claim
from .npz import load_npz

Array = NDArray[Any]
_LABELS = ("labels", "label", "y")


class ArraySource(Source):
    """Items that lie along the first axis of one array, or of several (a training and a test part)."""

    def __init__(
        self,
        parts: Sequence[Array],
        modality: str | None,
        description: str,
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`modality` is the one that the user names. Raises UserError if no modality claims the arrays."""
        first = parts[0]
        winner = claim([Record("array", first)], modality) if _is_numeric(parts) else None
        if winner is None:
            problem = f"the array has shape {first.shape} and type {first.dtype}"
            raise UserError(f"{problem}; expected {accepted('array', modality)}")
        if empty := [part.shape for part in parts if not part.size]:
            raise UserError(f"the array has shape {empty[0]}: there is nothing in it")
        self._parts, self.modality = parts, winner.modality.name
        self._ends = np.cumsum([len(part) for part in parts]).tolist()
        self._read = winner.modality.array_reader(parts)
        shape = "x".join(str(length) for length in first.shape[1:])
        self.description = f"{description}: {len(self)} arrays of {shape} {first.dtype}"
        self.columns = columns or {}
        check_columns(self)
        for name, column in self.columns.items():
            self.description += f", {name} with {len(set(column))} values"
        if len(parts) == 2:
            self.test = np.arange(len(self)) >= len(first)
            self.description += f", its own test split of {len(parts[1])}"

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: int) -> Any:
        part = bisect_right(self._ends, index)
        array = self._parts[part][index - (self._ends[part - 1] if part else 0)]
        return self._read(array, self.item_name(index))


def check_columns(source: Source) -> None:
    """Raise UserError if a column does not have one value for each item."""
    for name, column in source.columns.items():
        if len(column) != len(source):
            raise UserError(
                f"there are {len(source)} items, but '{name}' has {len(column)} values; give one for each item"
            )


def open_npz(path: Path, modality: str | None) -> ArraySource:
    """Return the items of the array with the strongest claim, and its labels; of `x_train` and `x_test`, both.

    Of equal claims, that on the array called `x` wins, else that on the largest.
    """
    with guard(path, "is not a readable npz file", "write it again with numpy.savez"):
        arrays = load_npz(path)
    strengths = {
        name: winner.strength
        for name, array in arrays.items()
        if _is_numeric([array]) and not _is_label(name)
        if (winner := claim([Record("array", array, name)], modality))
    }
    if not strengths:
        content = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no arrays of numbers"
        raise UserError(f"{path} holds {content}; expected {accepted('array', modality)}")
    name = max(strengths, key=lambda name: (strengths[name], name in ("x", "x_train"), arrays[name].size))
    train, test = name.replace("test", "train"), name.replace("train", "test")
    if train != test and train in arrays and test in arrays:
        parts, description = [arrays[train], arrays[test]], path.name
        sides = [arrays[key].ravel() for side in ("train", "test") for key in arrays if _is_label(key) and side in key]
        labels = np.concatenate(sides) if len(sides) == 2 else None
    else:
        parts, description = [arrays[name]], f"{path.name}, array '{name}'"
        fitting = [arrays[key] for key in _LABELS if key in arrays and arrays[key].size == len(arrays[name])]
        labels = fitting[0] if fitting else None
    return ArraySource(parts, modality, description, {"label": labels_as_text(labels)} if labels is not None else {})


def load_npy(path: Path) -> Array:
    """Return the array in a file, memory-mapped. Raises UserError if the file is damaged."""
    with guard(path, "is not a readable npy file", "write it again with numpy.save"):
        return np.lib.format.open_memmap(path, mode="r")  # of the size of the file, or it is refused


def labels_as_text(labels: Any) -> list[str]:
    """Return labels as strings, equal ones as one object: None as "", whole floats without a decimal point."""
    values = np.asarray(labels).ravel()
    if values.dtype == object:
        values = np.array(["" if value is None else str(value) for value in values])
    distinct, inverse = np.unique(values, return_inverse=True)
    whole = np.issubdtype(distinct.dtype, np.floating) and (distinct == np.rint(distinct)).all()
    names = [
        str(int(value)) if whole else value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for value in distinct
    ]
    return [names[index] for index in inverse]


def _is_label(name: str) -> bool:
    return name in _LABELS or name.startswith("y_") or "label" in name


def _is_numeric(parts: Sequence[Array]) -> bool:
    return all(np.issubdtype(part.dtype, np.number) or part.dtype == bool for part in parts)
