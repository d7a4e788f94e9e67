"""From what the user names to a source: a folder, a file, an array, a Hub id or an embedded data set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morphogen.core.errors import UserError

from .arrays import ArraySource, ListSource, open_npy, open_npz, texts
from .base import Source, of_suffix
from .digits import open_digits
from .documents import TextSource, open_text
from .folder import FolderSource, open_folder
from .hub import HubSource
from .idx import is_idx, open_idx, open_idx_folder
from .rows import NoItems, ParquetSource, open_csv, open_jsonl
from .tables import is_frame, open_frame, open_split, open_table

__all__ = ["EMBEDDED", "Source", "open_source"]

EMBEDDED = {"digits": open_digits}
_TABLES = (".data", ".test")  # as those of UCI are called
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (
    "a folder, .txt(.gz), .npz, .npy, .idx(.gz), .parquet, .csv(.gz), .tsv, .data(.gz), .jsonl(.gz), a Hub id such as "
    "owner/name, "
    "or 'digits'"
)


def open_source(
    spec: Any, modality: str | None = None, column: str | None = None, separator: str | None = None
) -> Source:
    """The source that `spec` names: a str or Path, an array, a list of pictures or texts, or a tuple (items, labels).

    The string `digits` is the embedded data set (`./digits` a folder); `hub:owner/name` is always the Hub.
    `column` names the column of items where rows have several; `separator`, of a text file alone, what stands
    between its documents, see `open_text`. Raises UserError saying what was found and what was expected.
    """
    source = _open(spec, modality, column, separator)
    if separator is not None and not isinstance(source, TextSource):
        raise UserError(f"--separator cuts a single text file, and the source is none: {source.description}")
    return source


def _open(spec: Any, modality: str | None, column: str | None, separator: str | None) -> Source:
    if isinstance(spec, str) and spec in EMBEDDED:
        return EMBEDDED[spec]()
    if isinstance(spec, str) and spec.startswith("hub:"):
        return HubSource(spec.removeprefix("hub:"), modality, column)
    if isinstance(spec, str) and not spec.strip():
        raise UserError(f"the source is empty; expected {_FILES}")
    if isinstance(spec, (str, Path)):
        path = Path(spec).expanduser()
        if path.is_dir():
            return _open_folder(path, modality, separator)
        if path.exists():
            return _open_file(path, modality, column, separator)
        text = str(spec)
        if _HUB_ID.fullmatch(text) and not path.parent.exists() and not Path(text).suffix:
            return HubSource(text, modality, column)
        raise _missing(path)
    if is_frame(spec):
        return open_frame(spec)
    if isinstance(spec, tuple) and len(spec) == 2 and not isinstance(spec[0], str):
        return _in_memory(spec[0], modality, {"label": texts(spec[1])})
    return _in_memory(spec, modality, {})


def _in_memory(items: Any, modality: str | None, columns: dict[str, list[str]]) -> Source:
    if isinstance(items, np.ndarray) and items.ndim == 1 and len(items) and isinstance(items[0], str):
        items = items.tolist()
    if isinstance(items, np.ndarray):
        return ArraySource([items], modality or "image", "an array in memory", columns)
    if isinstance(items, Sequence):
        return ListSource(items, modality or _of_item(items), columns)
    raise UserError(
        f"a source cannot be a {type(items).__name__}; expected a path, an array, a data frame or a list of pictures "
        "or texts"
    )


def _of_item(items: Sequence[Any]) -> str:
    """The modality of the first: that of its file, where it names one, else a str is a text."""
    first = items[0] if len(items) else None
    kind = of_suffix(str(first)) if isinstance(first, (str, Path)) and "\n" not in str(first) else None
    return kind or ("text" if isinstance(first, str) else "image")


def _open_folder(path: Path, modality: str | None, separator: str | None) -> Source:
    if idx := open_idx_folder(path, modality or "image"):
        return idx
    if tables := open_split(path, modality):
        return tables
    source = open_folder(path, modality)
    if source.modality == "text" and len(source) == 1:
        return open_text(path / source.item_name(0), "auto" if separator is None else separator)
    return source


def _open_file(path: Path, modality: str | None, column: str | None, separator: str | None) -> Source:
    name = path.name.lower().removesuffix(".gz")
    if is_idx(path.name):
        return open_idx(path, modality or "image")
    if name.endswith(".npz"):
        return open_npz(path, modality or "image")
    if name.endswith(".npy"):
        return open_npy(path, modality or "image")
    if name.endswith((".parquet", ".csv", ".tsv", *_TABLES)):
        return _open_rows(path, name, modality, column)
    if name.endswith((".jsonl", ".ndjson")):
        return open_jsonl(path, modality, column)
    if modality in (None, "text") and of_suffix(name) == "text":
        return open_text(path, "auto" if separator is None else separator)
    kind = of_suffix(path.name)
    if kind is not None:
        source = FolderSource(path.parent, [path.name], modality or kind)
        source.description = f"the single file {path.name}"
        return source
    raise UserError(f"{path} is a file of a kind that is not known; expected {_FILES}")


def _open_rows(path: Path, name: str, modality: str | None, column: str | None) -> Source:
    """Items in a column of them, or, where there is none and none is asked for, rows as items."""
    if modality == "table" or (name.endswith(_TABLES) and column is None and modality is None):
        return open_table(path, "table")
    try:
        return ParquetSource(path, modality, column) if name.endswith(".parquet") else open_csv(path, modality, column)
    except NoItems:
        if modality is not None or column is not None:
            raise
        return open_table(path, "table")


def _missing(path: Path) -> UserError:
    around = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = difflib.get_close_matches(path.name, [*EMBEDDED, *around], n=1, cutoff=0.6)
    if nearest:
        known = nearest[0] if nearest[0] in EMBEDDED else str(path.parent / nearest[0])
        return UserError(f"there is no file or folder '{path}'; did you mean '{known}'?")
    return UserError(f"there is no file or folder '{path}'; expected {_FILES}")
