"""Arrays as a source: in memory, or from npz and npy files; and lists of items in memory."""

from __future__ import annotations

import zipfile
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import BadItem, UserError, unknown

from .base import Source, of_suffix, readers
from .documents import text_name

Array = NDArray[Any]
_PAIRS = (
    ("x_train", "x_test", "y_train", "y_test"),
    ("train_images", "test_images", "train_labels", "test_labels"),
)


class ArraySource(Source):
    """Items that lie along the first axis of one array, or of several (a training and a test part)."""

    def __init__(
        self,
        parts: Sequence[Array],
        modality: str,
        description: str,
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if modality not in readers():
            raise unknown("modality", modality, readers())
        first = parts[0]
        if any(
            part.dtype == object or (not np.issubdtype(part.dtype, np.number) and part.dtype != bool) for part in parts
        ):
            raise UserError(f"the array holds {first.dtype}; expected numbers")
        if first.ndim not in (3, 4) or (first.ndim == 3 and first.shape[-1] in (1, 3, 4)):
            raise UserError(
                f"the array has shape {first.shape}; expected (N, H, W), (N, H, W, channels) or (N, channels, H, W)"
            )
        self._parts, self.modality = parts, modality
        self._ends = np.cumsum([len(part) for part in parts]).tolist()
        if not len(self):
            raise UserError(f"the array has shape {first.shape}: there is nothing in it")
        self._rescale = _rescaler(parts)
        self._from_array = readers()[modality].from_array
        shape = "x".join(str(length) for length in first.shape[1:])
        self.description = f"{description}: {len(self)} arrays of {shape} {first.dtype}"
        self.columns = columns or {}
        for name, column in self.columns.items():
            if len(column) != len(self):
                raise UserError(f"there are {len(self)} items and {len(column)} of '{name}'; expected as many")
            self.description += f", {name} with {len(set(column))} values"
        if len(parts) == 2:
            self.test = np.arange(len(self)) >= len(first)
            self.description += f", its own test split of {len(parts[1])}"

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: int) -> Any:
        part = bisect_right(self._ends, index)
        array = self._parts[part][index - (self._ends[part - 1] if part else 0)]
        try:
            return self._from_array(self._rescale(array))
        except BadItem as error:
            raise BadItem(f"{self.item_name(index)}: {error}") from None


class ListSource(Source):
    """A list of items in memory such as PIL images or texts, of arrays, or of paths."""

    def __init__(self, items: Sequence[Any], modality: str, columns: Mapping[str, Sequence[str]] | None = None) -> None:
        if modality not in readers():
            raise unknown("modality", modality, readers())
        if not len(items):
            raise UserError("the list of items is empty; expected at least one")
        self._items, self.modality, self.columns = items, modality, columns or {}
        # By the first, so that the name of a file that is missing does not become a text.
        self._literal = modality == "text" and not _is_text_file(items[0])
        for name, column in self.columns.items():
            if len(column) != len(items):
                raise UserError(f"there are {len(items)} items and {len(column)} of '{name}'; expected as many")
        self.description = f"{len(items)} items in memory, taken for modality {modality}"

    def __len__(self) -> int:
        return len(self._items)

    def read(self, index: int) -> Any:
        item, files = self._items[index], readers()[self.modality]
        if self._literal and isinstance(item, str):
            return files.checked(item, f"item {index}")
        if isinstance(item, (str, Path)):
            return files.read(Path(item))
        if isinstance(item, files.ITEM):
            return item
        try:
            return files.from_array(item)
        except BadItem as error:
            raise BadItem(f"item {index}: {error}") from None

    def item_name(self, index: int) -> str:
        item = self._items[index]
        return text_name(item) if self._literal and isinstance(item, str) else super().item_name(index)


def open_npz(path: Path, modality: str) -> ArraySource:
    """`images`, `x` or the largest 3- or 4-D array, with `labels` or `y`; or `x_train` with `x_test`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: _load(file, name) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a readable npz file ({error}); write it again with numpy.savez") from None
    lower = {name.lower(): array for name, array in arrays.items() if array is not None}
    for train, test, train_labels, test_labels in _PAIRS:
        if train in lower and test in lower:
            columns = {}
            if train_labels in lower and test_labels in lower:
                both = np.concatenate([lower[train_labels].ravel(), lower[test_labels].ravel()])
                columns = {"label": texts(both)}
            return ArraySource([lower[train], lower[test]], modality, path.name, columns)
    candidates = {name: array for name, array in lower.items() if array.ndim in (3, 4)}
    if not candidates:
        found = ", ".join(f"{name} {array.shape}" for name, array in lower.items()) or "no arrays of numbers"
        raise UserError(f"{path} holds {found}; expected an array of pictures, (N, H, W) or (N, H, W, channels)")
    name = next((name for name in ("images", "x") if name in candidates), "")
    name = name or max(candidates, key=lambda name: candidates[name].size)
    images = candidates[name]
    labels = next((lower[key] for key in ("labels", "label", "y") if key in lower), None)
    columns = {"label": texts(labels)} if labels is not None and labels.size == len(images) else {}
    return ArraySource([images], modality, f"{path.name}, array '{name}'", columns)


def open_npy(path: Path, modality: str) -> ArraySource:
    """One array, left on disk and read as it is asked for."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is not a readable npy file ({error}); write it again with numpy.save") from None
    return ArraySource([array], modality, path.name)


def _is_text_file(item: Any) -> bool:
    if isinstance(item, str) and (len(item) > 1000 or "\n" in item or "\0" in item):
        return False
    return isinstance(item, Path) or (isinstance(item, str) and of_suffix(item) == "text" and Path(item).is_file())


def texts(labels: Any) -> list[str]:
    """Labels as strings, each distinct one held once; whole floats lose their point."""
    distinct, inverse = np.unique(np.asarray(labels).ravel(), return_inverse=True)
    whole = np.issubdtype(distinct.dtype, np.floating) and (distinct == np.rint(distinct)).all()
    names = [
        str(int(value)) if whole else value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for value in distinct
    ]
    return [names[index] for index in inverse]


def _load(file: Any, name: str) -> Array | None:
    try:
        array = file[name]
    except ValueError:  # pickled objects are never loaded
        return None
    return array if array.dtype != object else None


def _rescaler(parts: Sequence[Array]) -> Callable[[Array], Array]:
    """What brings every item to bool, uint8, uint16 or [0, 1], decided once for all of them."""
    if all(part.dtype in (np.uint8, np.uint16, bool) for part in parts):
        return lambda array: array
    low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
    if all(np.issubdtype(part.dtype, np.integer) for part in parts) and low >= 0 and high <= 65535:
        return lambda array: array.astype(np.uint8 if high <= 255 else np.uint16)
    if low >= 0 and high <= 1:
        return lambda array: array
    if low >= -1 and high <= 1:
        return lambda array: (array + 1) / 2
    if low >= 0 and high <= 255:
        return lambda array: array / 255
    raise UserError(f"the array's values lie in {low:g}..{high:g}; expected 0..255, 0..65535, 0..1 or -1..1")
