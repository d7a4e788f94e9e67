"""Lists of items in memory, and the items in one file, as sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morphogen.core.errors import UserError
from morphogen.core.modality import Parts

from .arrays import check_columns
from .base import Source, content_name
from .claims import accepted, claim
from .values import ValueReader, is_empty, records_of


class ListSource(Source):
    """Items in memory: objects such as PIL images, strings or arrays, or paths of files."""

    def __init__(self, values: Sequence[Any], reader: ValueReader, columns: Mapping[str, Sequence[str]]) -> None:
        self._values, self._reader, self.columns = values, reader, columns
        self.modality = reader.modality.name
        check_columns(self)
        self.description = f"{len(values)} {reader.modality.plural} in memory"

    def __len__(self) -> int:
        return len(self._values)

    def read(self, index: int) -> Any:
        return self._reader.read(self._values[index], f"item {index}")

    def item_name(self, index: int) -> str:
        value = self._values[index]
        return super().item_name(index) if self._reader.as_paths or not isinstance(value, str) else content_name(value)


class PartsSource(Source):
    """The items that a modality finds in one file, such as the documents of a text."""

    def __init__(self, parts: Parts, modality: str) -> None:
        self._parts, self.modality, self.description = parts, modality, parts.description
        self.test = None if parts.test is None else np.asarray(parts.test, dtype=bool)

    def __len__(self) -> int:
        return len(self._parts.items)

    def read(self, index: int) -> Any:
        return self._parts.items[index]

    def item_name(self, index: int) -> str:
        if self._parts.names:
            return self._parts.names[index]
        item = self.read(index)
        return content_name(item) if isinstance(item, str) else super().item_name(index)


def open_list(values: Sequence[Any], modality: str | None, columns: Mapping[str, Sequence[str]]) -> ListSource:
    """Return a list as a source, of the modality that claims its first item that is not empty.

    Raises UserError where none does.
    """
    if not len(values):
        raise UserError("the list of items is empty; expected at least one")
    number = next((number for number, value in enumerate(values) if not is_empty(value)), 0)
    first = values[number]
    winner = claim(records_of([first], "object"), modality)
    if winner is None:
        if isinstance(first, Path) and not first.exists():
            raise UserError(f"item {number}: {first} does not exist")
        what = f"item {number} has the type {type(first).__name__} ({first!r:.40})"
        raise UserError(f"{what}; expected {accepted('object', modality)}, or the path of a file")
    return ListSource(values, ValueReader.of(winner), columns)
