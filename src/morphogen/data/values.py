"""Values that hold items, in a list or in cells: the item itself, its bytes, or the path of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from morphogen.core.errors import BadItem
from morphogen.core.modality import Modality, Record, read_item

from .claims import Claim

_LONGEST_PATH = 1000  # characters


@dataclass(frozen=True)
class ValueReader:
    """Reads items of one modality from values; with `as_paths` a string is the path of a file below `folder`."""

    modality: Modality[Any]
    as_paths: bool
    folder: Path = Path()

    @classmethod
    def of(cls, claim: Claim, folder: Path = Path()) -> ValueReader:
        """Return the reader of the values that were claimed."""
        return cls(claim.modality, claim.record.kind == "file", folder)

    def read(self, value: Any, name: str) -> Any:
        """Return the item in a value. Raises BadItem, under `name`, where there is none."""
        value = _unwrapped(value)
        if is_empty(value):
            raise BadItem(f"{name} is empty; remove it")
        if isinstance(value, Path) or (self.as_paths and isinstance(value, str)):
            path = self.folder / value
            return read_item(self.modality, path, str(path))
        return read_item(self.modality, value, name)


def records_of(
    values: Sequence[Any], kind: Literal["cells", "object"], *, folder: Path = Path(), name: str = "", feature: str = ""
) -> list[Record]:
    """Return the records that modalities may claim: the file that the first non-empty value names, or the values."""
    filled = [value for value in map(_unwrapped, values) if not is_empty(value)]
    if not filled:
        return []
    first, records = filled[0], []
    if isinstance(first, Path) or _could_be_path(first):
        records.append(Record("file", folder / first, Path(first).name))
    if not isinstance(first, Path):
        records.append(Record(kind, filled if kind == "cells" else first, name, feature))
    return records


def _unwrapped(value: Any) -> Any:
    """Return the bytes or the path in a struct of both, as the Hub keeps media; else the value."""
    if not (isinstance(value, Mapping) and value.keys() >= {"bytes", "path"}):
        return value
    return value["bytes"] or (Path(value["path"]) if value["path"] else None)


def is_empty(value: Any) -> bool:
    """Return whether there is nothing in a value: None, or an empty string."""
    return value is None or (isinstance(value, (str, bytes)) and not value)


def _could_be_path(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_PATH and "\n" not in value and "\0" not in value
