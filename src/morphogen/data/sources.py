"""Opening a source: a folder, a file, an array, a Hub id or an embedded data set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morphogen.core.errors import UserError
from morphogen.core.files import guard
from morphogen.core.modality import Record

from .arrays import ArraySource, labels_as_text, load_npy, open_npz
from .base import Source
from .choose_column import choose_column, no_column
from .claims import accepted, candidates, claim
from .digits import open_digits
from .folder import open_folder, single_file
from .hub import HubSource
from .idx import is_idx, open_idx, open_idx_folder
from .memory import PartsSource, open_list
from .parquet import ParquetFile, ParquetSource
from .records import csv_head, jsonl_head, open_csv, open_jsonl
from .tables import is_frame, is_table, open_frame, open_split, open_table, records_table

__all__ = ["EMBEDDED", "Source", "open_source"]

EMBEDDED = {"digits": open_digits}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CONTAINERS = ".npz, .npy, .idx(.gz), .parquet, .csv(.gz), .tsv, .data(.gz), .jsonl(.gz)"


def open_source(
    spec: Any,
    modality: str | None = None,
    column: str | None = None,
    separator: str | None = None,
    *,
    whole: bool = False,
) -> Source:
    """Return the source that `spec` names: a str or Path, an array, a list of items, a data frame, or a tuple
    (items, labels). A Source is returned as it is.

    The string `digits` is the embedded data set (`./digits` a folder); `hub:owner/name` is always the Hub. `modality`
    is that of the items, by default the one with the strongest claim; `column` is the column of the items where records
    have several; `separator` stands between the items of a single file that a modality splits (see `Modality.split`).
    With `whole` a single file is one item, if possible. Raises UserError that says what was found and what was
    expected.
    """
    if isinstance(spec, Source):
        return spec
    candidates(modality)  # an unknown name is refused, whatever the source
    name = spec if isinstance(spec, (str, Path)) else f"the source, a {type(spec).__name__},"
    with guard(name, "cannot be read", "check it, or give another one"):
        source = _open(spec, modality, column, separator, whole)
    if separator is not None and not isinstance(source, PartsSource):
        raise UserError(f"--separator splits a single text file; this source is none: {source.description}")
    if column is not None and not _has_columns(spec, source):
        raise UserError(f"--column names a column of records; this source has none: {source.description}; drop it")
    source.spec, source.column, source.separator = spec if isinstance(spec, (str, Path)) else None, column, separator
    return source


def _has_columns(spec: Any, source: Source) -> bool:
    """Return whether a source holds records with several columns."""
    if not isinstance(spec, (str, Path)) or isinstance(source, HubSource):
        return is_frame(spec) or _are_records(spec) or isinstance(source, HubSource)
    name = Path(spec).expanduser().name.lower().removesuffix(".gz")
    return Path(spec).expanduser().is_file() and (is_table(name) or name.endswith((".jsonl", ".ndjson")))


def _are_records(items: Any) -> bool:
    """Return whether items are a list of records, and not of the bytes of media as the Hub keeps them."""
    if not isinstance(items, Sequence) or isinstance(items, (str, bytes)) or not items:
        return False
    return all(isinstance(item, Mapping) and not item.keys() >= {"bytes", "path"} for item in items)


def _open(spec: Any, modality: str | None, column: str | None, separator: str | None, whole: bool) -> Source:
    if isinstance(spec, str) and spec in EMBEDDED:
        return EMBEDDED[spec](modality)
    if isinstance(spec, str) and spec.startswith("hub:"):
        return HubSource(spec.removeprefix("hub:"), modality, column)
    if isinstance(spec, str) and not spec.strip():
        raise UserError(f"the source is empty; expected {_expected(modality)}")
    if isinstance(spec, (str, Path)):
        path = Path(spec).expanduser()
        if path.is_dir():
            return _open_folder(path, modality, separator, whole)
        if path.exists():
            return _open_file(path, modality, column, separator, whole)
        text = str(spec)
        if _HUB_ID.fullmatch(text) and not path.parent.exists() and not Path(text).suffix:
            return HubSource(text, modality, column)
        raise _missing(path, modality)
    if is_frame(spec):
        return open_frame(spec, modality, column)
    if isinstance(spec, tuple) and len(spec) == 2 and not isinstance(spec[0], str):
        return _in_memory(spec[0], modality, {"label": labels_as_text(spec[1])})
    return _in_memory(spec, modality, {}, column)


def _in_memory(
    items: Any, modality: str | None, columns: Mapping[str, Sequence[str]], column: str | None = None
) -> Source:
    if isinstance(items, np.ndarray) and items.ndim == 1 and len(items) and isinstance(items[0], str):
        items = items.tolist()
    if isinstance(items, np.ndarray):
        return ArraySource([items], modality, "an array in memory", columns)
    if isinstance(items, Sequence) and not isinstance(items, (str, bytes)):
        if _are_records(items) and not columns:
            return open_frame(records_table(items), modality, column)
        return open_list(items, modality, columns)
    raise UserError(
        f"a source cannot be a {type(items).__name__}; expected a path, an array, a data frame or a list of items: "
        f"{accepted('object', modality)}"
    )


def _open_folder(path: Path, modality: str | None, separator: str | None, whole: bool) -> Source:
    if idx := open_idx_folder(path, modality):
        return idx
    if tables := open_split(path, modality):
        return tables
    source = open_folder(path, modality)
    if len(source) == 1 and not whole:
        file = path / source.item_name(0)
        parts = candidates(source.modality)[0].split(file, separator)
        return PartsSource(parts, source.modality) if parts else source
    return source


def _open_file(path: Path, modality: str | None, column: str | None, separator: str | None, whole: bool) -> Source:
    name = path.name.lower().removesuffix(".gz")
    if is_idx(path.name):
        return open_idx(path, modality)
    if name.endswith(".npz"):
        return open_npz(path, modality)
    if is_table(name):
        return _open_records(path, modality, column)
    if name.endswith((".jsonl", ".ndjson")):
        head = jsonl_head(path)
        chosen = choose_column(head.cells, chosen=column, modality=modality, file=str(path), folder=path.parent)
        if chosen is None:
            raise no_column(head.names, modality, str(path))
        return open_jsonl(path, chosen)
    records = [Record("file", path, path.name)]
    array = load_npy(path) if name.endswith(".npy") else None
    if array is not None:
        records.insert(0, Record("array", array, path.stem))
    winner = claim(records, modality)
    if winner is None and array is None:
        raise UserError(f"{path} is a file of an unknown kind; expected {_expected(modality)}")
    if winner is None or winner.record.kind == "array":
        assert array is not None
        return ArraySource([array], modality, path.name)
    parts = None if whole else winner.modality.split(path, separator)
    return PartsSource(parts, winner.modality.name) if parts else single_file(path, winner.modality)


def _open_records(path: Path, modality: str | None, column: str | None) -> Source:
    """Return the items in a column, or the rows as items if the claim on these is stronger."""
    parquet = ParquetFile(path) if path.name.lower().endswith((".parquet", ".parquet.gz")) else None
    cells = parquet.cells if parquet else csv_head(path).cells
    chosen = choose_column(cells, chosen=column, modality=modality, file=str(path), folder=path.parent)
    if column is None:
        first_rows = parquet.rows if parquet else _arrow_table(cells)
        winner = claim([Record("rows", first_rows, path.name)], modality)
        if winner and (chosen is None or winner.strength > chosen.strength):
            return open_table(path, winner)
    if chosen is None:
        raise no_column(cells, modality, str(path))
    return ParquetSource(parquet, chosen) if parquet else open_csv(path, chosen)


def _arrow_table(cells: Mapping[str, Sequence[Any]]) -> Any:
    """Return the first rows of a csv file as an Arrow table; None if pyarrow is not installed."""
    try:
        import pyarrow as arrow
    except ImportError:
        return None
    return arrow.table({name: [str(cell) if cell is not None else None for cell in cells[name]] for name in cells})


def _expected(modality: str | None) -> str:
    files = accepted("file", modality)
    return f"a folder, a file such as {_CONTAINERS}, {files}, a Hub id such as owner/name, or 'digits'"


def _missing(path: Path, modality: str | None) -> UserError:
    around = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = difflib.get_close_matches(path.name, [*EMBEDDED, *around], n=1, cutoff=0.6)
    if nearest:
        suggestion = nearest[0] if nearest[0] in EMBEDDED else str(path.parent / nearest[0])
        return UserError(f"there is no file or folder '{path}'; did you mean '{suggestion}'?")
    return UserError(f"there is no file or folder '{path}'; expected {_expected(modality)}")
