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
from .folder import FolderSource, open_folder
from .hub import HubSource
from .idx import is_idx, open_idx, open_idx_folder
from .rows import CsvSource, ParquetSource

__all__ = ["Source", "open_source"]

_EMBEDDED = {"digits": open_digits}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = "a folder, .npz, .npy, .idx(.gz), .parquet, .csv(.gz), .tsv, a Hub id such as owner/name, or 'digits'"


def open_source(spec: Any, modality: str | None = None, image_column: str | None = None) -> Source:
    """The source that `spec` names: a str or Path, an array, a list of pictures, or a tuple (items, labels).

    The string `digits` is the embedded data set (`./digits` a folder); `hub:owner/name` is always the Hub.
    Raises UserError saying what was found and what was expected.
    """
    if isinstance(spec, str) and spec in _EMBEDDED:
        return _EMBEDDED[spec]()
    if isinstance(spec, str) and spec.startswith("hub:"):
        return HubSource(spec.removeprefix("hub:"), modality, image_column)
    if isinstance(spec, str) and not spec.strip():
        raise UserError(f"the source is empty; expected {_FILES}")
    if isinstance(spec, (str, Path)):
        path = Path(spec).expanduser()
        if path.is_dir():
            return (open_idx_folder(path, modality or "image")) or open_folder(path, modality)
        if path.exists():
            return _open_file(path, modality, image_column)
        text = str(spec)
        if _HUB_ID.fullmatch(text) and not path.parent.exists() and not Path(text).suffix:
            return HubSource(text, modality, image_column)
        raise _missing(path)
    if isinstance(spec, tuple) and len(spec) == 2:
        return _in_memory(spec[0], modality or "image", {"label": texts(spec[1])})
    return _in_memory(spec, modality or "image", {})


def _in_memory(items: Any, modality: str, columns: dict[str, list[str]]) -> Source:
    if isinstance(items, np.ndarray):
        return ArraySource([items], modality, "an array in memory", columns)
    if isinstance(items, Sequence):
        return ListSource(items, modality, columns)
    raise UserError(f"a source cannot be a {type(items).__name__}; expected a path, an array or a list of pictures")


def _open_file(path: Path, modality: str | None, image_column: str | None) -> Source:
    name = path.name.lower().removesuffix(".gz")
    if is_idx(path.name):
        return open_idx(path, modality or "image")
    if name.endswith(".npz"):
        return open_npz(path, modality or "image")
    if name.endswith(".npy"):
        return open_npy(path, modality or "image")
    if name.endswith(".parquet"):
        return ParquetSource(path, modality, image_column)
    if name.endswith((".csv", ".tsv")):
        return CsvSource(path, modality, image_column)
    kind = of_suffix(path.name)
    if kind is not None:
        source = FolderSource(path.parent, [path.name], modality or kind)
        source.description = f"the single file {path.name}"
        return source
    raise UserError(f"{path} is a file of a kind that is not known; expected {_FILES}")


def _missing(path: Path) -> UserError:
    around = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = difflib.get_close_matches(path.name, [*_EMBEDDED, *around], n=1, cutoff=0.6)
    if nearest:
        known = nearest[0] if nearest[0] in _EMBEDDED else str(path.parent / nearest[0])
        return UserError(f"there is no file or folder '{path}'; did you mean '{known}'?")
    return UserError(f"there is no file or folder '{path}'; expected {_FILES}")
