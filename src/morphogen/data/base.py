"""What a source of raw items is, and what every kind of source shares."""

from __future__ import annotations

import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core import plugins
from morphogen.core.errors import UserError

_CLASSES = 1000  # a column with more different values than this is no class


class Source(ABC):
    """Raw items of one modality, each read only when it is asked for; reading is safe from several threads."""

    description: str  # what the source was taken for, in plain words
    modality: str
    columns: Mapping[str, Sequence[str]] = {}  # candidate conditions, one string per item
    test: NDArray[np.bool_] | None = None  # the source's own test split

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> Any:
        """The raw item. Raises BadItem, naming it, where it cannot be read."""

    def item_name(self, index: int) -> str:
        """A name for messages and for splitting by hash, stable as far as the source allows."""
        return f"item {index}"

    def block(self, indices: NDArray[np.int64]) -> Any:
        """The items together, as the modality's own collection, where they are held as such; None: they are not."""
        return None

    def item_names(self) -> list[str]:
        """The names of all."""
        return [self.item_name(index) for index in range(len(self))]

    def weigh(self, item: Any) -> int:
        """The memory a decoded item takes, in bytes; 0 where its modality does not say."""
        weigh = getattr(readers().get(self.modality), "weigh", None)
        return weigh(item) if weigh else 0


@cache
def readers() -> dict[str, ModuleType]:
    """Modality → its `files` module (`ITEM`, `SUFFIXES`, `read`, `from_array`), for every modality that has one."""
    found = {}
    for name, dotted in plugins.known("modalities").items():
        try:
            present = importlib.util.find_spec(f"{dotted}.files") is not None
        except ModuleNotFoundError:  # a modality that is a plain module, or is not installed
            present = False
        if not present:
            continue
        try:
            found[name] = plugins.load("modalities", name, "files")
        except UserError as error:  # somebody else's plug-in must not stop a fit that does not name it
            warnings.warn(f"the modality '{name}' is left out: {error}", stacklevel=2)
    return found


def of_suffix(name: str) -> str | None:
    """The modality whose files end as `name` does."""
    ending = f".{name.rpartition('.')[2].lower()}"
    return next((modality for modality, files in readers().items() if ending in files.SUFFIXES), None)


class Column:
    """Collects one string per item, each distinct one held once; gives up on what cannot be a class."""

    def __init__(self) -> None:
        self._known: dict[str, str] | None = {}
        self._values: list[str] = []

    def add(self, value: object) -> None:
        """The next item's value; None is the empty string."""
        if self._known is None:
            return
        text = "" if value is None else str(value)
        self._values.append(self._known.setdefault(text, text))
        if len(self._known) > _CLASSES:
            self._known, self._values = None, []

    def offered(self) -> list[str] | None:
        """The values, if there are few enough of them to be classes."""
        if self._known is None or len(self._known) > max(2, len(self._values) // 2):
            return None
        return self._values


def offered(columns: Mapping[str, Iterable[object]]) -> dict[str, list[str]]:
    """Those columns that can serve as classes."""
    found = {}
    for name, column in columns.items():
        collected = Column()
        for value in column:
            collected.add(value)
        if (values := collected.offered()) is not None:
            found[name] = values
    return found


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of many names, for a message."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
