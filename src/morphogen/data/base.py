"""The contract of a source of raw items, and what every kind of source shares."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import BadItem
from morphogen.core.modality import modality

_MOST_CLASSES = 1000  # a column with more distinct values than this holds no classes


class Source(ABC):
    """Raw items of one modality, each read only when it is indexed; reading is safe from several threads."""

    description: str  # how the source was read, in plain words
    modality: str  # its name
    columns: Mapping[str, Sequence[str]] = {}  # candidate conditions, one string per item
    test: NDArray[np.bool_] | None = None  # the source's own test split
    spec: str | Path | None = None  # what `open_source` opened it from, with column and separator; None: from memory
    column: str | None = None
    separator: str | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> Any:
        """Return the raw item. Raises BadItem, naming it, where it cannot be read."""

    def item_name(self, index: int) -> str:
        """Return a name for messages and for splitting by hash, stable as far as the source allows."""
        return f"item {index}"

    def block(self, indices: NDArray[np.int64]) -> Any:
        """Return the items as one collection of the modality; None: the source reads items one by one."""
        return None

    def item_names(self) -> list[str]:
        """Return the names of all items."""
        return [self.item_name(index) for index in range(len(self))]

    def collect(self, items: Sequence[Any]) -> Any:
        """Return items that were read one by one as the modality's own collection."""
        return modality(self.modality).collect(items)

    def weigh(self, item: Any) -> int:
        """Return the memory that a decoded item takes, in bytes; 0: unknown."""
        return modality(self.modality).weigh(item)


class ClassColumn:
    """Collects one string per item, each distinct one held once; gives up where there are too many to be classes."""

    def __init__(self) -> None:
        self._known: dict[str, str] | None = {}
        self._values: list[str] = []

    def add(self, value: object) -> None:
        """Append the next item's value; None is the empty string."""
        if self._known is None:
            return
        text = "" if value is None else str(value)
        self._values.append(self._known.setdefault(text, text))
        if len(self._known) > _MOST_CLASSES:
            self._known, self._values = None, []

    def values(self) -> list[str] | None:
        """Return the values, if there are few enough of them to be classes."""
        if self._known is None or len(self._known) > max(2, len(self._values) // 2):
            return None
        return self._values


def class_columns(columns: Mapping[str, Iterable[object]]) -> dict[str, list[str]]:
    """Return those columns that can serve as classes."""
    classes = {}
    for name, cells in columns.items():
        column = ClassColumn()
        for cell in cells:
            column.add(cell)
        if (values := column.values()) is not None:
            classes[name] = values
    return classes


def content_name(text: str) -> str:
    """Return a name by what a text says: equal texts have one name, so that a split keeps them together."""
    return text if len(text) <= 40 else f"{text[:40]}… {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def name_by_content(source: Source, index: int, otherwise: str) -> str:
    """Return a name by what an item says, where it is a string that can be read."""
    try:
        item = source.read(index)
    except BadItem:
        return otherwise
    return content_name(item) if isinstance(item, str) else otherwise


def abbreviated(names: Sequence[str], most: int = 3) -> str:
    """Return the first few of many names, for a message."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
