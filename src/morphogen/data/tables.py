"""Tables: the rows of a file or a data frame, held together and read in blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError, needs_extra
from morphogen.core.files import guard
from morphogen.core.modality import Record, read_item

from .base import Source, class_columns
from .choose_column import HEAD, choose_column, no_column
from .claims import Claim, claim
from .memory import ListSource

_MANY = 0.1  # share of rows with duplicates above which each row has its own name


class TableSource(Source):
    """The rows of an Arrow table; equal rows have one name, so that a split by name never puts copies on both sides.

    A table with many duplicates is the exception, each row has its own name: a split that keeps duplicates together
    would leave some kinds of rows out of training, and so change the distribution.
    """

    def __init__(self, table: Any, modality: str, title: str, test: NDArray[np.bool_] | None = None) -> None:
        self._table, self.modality, self.test = table, modality, test
        self.description = f"{title}: {table.num_rows:,} rows, {table.num_columns} columns"

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def read(self, index: int) -> Any:
        return self.block(np.array([index]))

    def block(self, indices: NDArray[np.int64]) -> Any:
        """Return an Arrow table of the rows, in that order."""
        if len(indices) and bool((np.diff(indices) == 1).all()):
            return self._table.slice(int(indices[0]), len(indices))
        return self._table.take(indices)

    def item_name(self, index: int) -> str:
        return self.item_names()[index]

    def item_names(self) -> list[str]:
        """Return a digest of each row; with many duplicates, followed by the number of equal rows before it."""
        digests = np.zeros(len(self), dtype=np.uint64)
        for number, column in enumerate(self._table.columns):
            digests = (digests ^ _cell_digests(column)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(number)
        names = [f"{digest:016x}" for digest in digests.tolist()]
        _, group, sizes = np.unique(digests, return_inverse=True, return_counts=True)
        if (sizes[group] > 1).mean() <= _MANY:
            return names
        order = np.argsort(group, kind="stable")
        before = np.empty(len(order), dtype=np.int64)
        before[order] = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[group[order]]
        return [f"{name}-{count}" for name, count in zip(names, before.tolist(), strict=True)]


def _cell_digests(column: Any) -> NDArray[np.uint64]:
    """Return a hash of each cell, `(rows,)`, that depends on its value alone."""
    import pyarrow.types as types

    if types.is_integer(column.type) or types.is_floating(column.type):
        missing = column.is_null().to_numpy()
        bits = column.fill_null(0).to_numpy().astype(np.float64).view(np.uint64).copy()
        bits[missing] = 1
        bits = (bits ^ (bits >> np.uint64(31))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(29))
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    words = [
        int.from_bytes(hashlib.blake2b(repr(value).encode("utf-8", "replace"), digest_size=8).digest(), "little")
        for value in encoded.dictionary.to_pylist()
    ]
    return np.array(words or [0], dtype=np.uint64)[encoded.indices.to_numpy(zero_copy_only=False)]


def open_table(path: Path, winner: Claim) -> TableSource:
    """Return the rows of a csv or parquet file. Raises BadItem if it cannot be read."""
    return TableSource(read_item(winner.modality, path, str(path)), winner.modality.name, path.name)


def open_split(path: Path, modality: str | None) -> TableSource | None:
    """Return a folder of two tables, `train` and `test`, as one source with its own test split, else None."""
    parts = {part: sorted(one for one in path.glob(f"{part}.*") if is_table(one.name)) for part in ("train", "test")}
    if any(len(files) != 1 for files in parts.values()):
        return None
    winner = claim([Record("rows", None, parts["train"][0].name)], modality)
    if winner is None:
        return None
    train, test = (read_item(winner.modality, files[0], str(files[0])) for files in parts.values())
    if train.column_names != test.column_names:
        raise UserError(
            f"{parts['train'][0]} has the columns {', '.join(train.column_names)}, and {parts['test'][0].name} "
            f"{', '.join(test.column_names)}; give both the same"
        )
    try:
        whole = winner.modality.concatenate([train, test])
    except UserError as error:
        raise UserError(f"{parts['test'][0]} does not go with {parts['train'][0].name}: {error}") from None
    title = f"{parts['train'][0].name} and {parts['test'][0].name}"
    return TableSource(whole, winner.modality.name, title, np.arange(whole.num_rows) >= train.num_rows)


def is_table(name: str) -> bool:
    """Return whether a file name is that of a table."""
    return name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet", ".data", ".test"))


def open_frame(frame: Any, modality: str | None, column: str | None) -> Source:
    """Return the rows of a data frame, or the items in one column if it is named or no modality claims the rows."""
    import pyarrow as arrow

    try:
        table = frame if isinstance(frame, arrow.Table) else arrow.table(_with_names(frame))
    except (arrow.ArrowException, TypeError, ValueError, OverflowError):
        table = None  # the modality says what is wrong with it
    head = None if table is None else table.slice(0, HEAD)
    winner = claim([Record("rows", head, "a data frame")], modality) if column is None else None
    if winner is not None:
        rows = read_item(winner.modality, frame, "the data frame")
        return TableSource(rows, winner.modality.name, "a data frame in memory")
    if table is None:
        raise UserError("the data frame cannot be turned into an Arrow table; give a list of its items")
    cells = {name: table.column(name).slice(0, HEAD).to_pylist() for name in table.column_names}
    chosen = choose_column(cells, chosen=column, modality=modality, file="the data frame")
    if chosen is None:
        raise no_column(cells, modality, "the data frame")
    columns = class_columns({name: table.column(name).to_pylist() for name in cells if name != chosen.name})
    return ListSource(table.column(chosen.name).to_pylist(), chosen.reader, columns)


def _with_names(frame: Any) -> Any:
    """Return a data frame whose labels are text, as Arrow wants them."""
    if type(frame).__module__.partition(".")[0] != "pandas":
        return frame
    named = frame.copy(deep=False)
    named.columns = [label if isinstance(label, str) else str(label) for label in frame.columns.tolist()]
    return named


def records_table(records: Sequence[Mapping[str, Any]]) -> Any:
    """Return records as an Arrow table; a value that a record lacks is missing.

    Raises UserError where the values of a column have no type in common.
    """
    try:
        import pyarrow as arrow
    except ImportError:
        raise needs_extra("pyarrow", "arrow", "a list of records") from None
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {}
    for name in names:
        with guard(f"the value of '{name}' in the records", "has no type in common", "give each column one type"):
            columns[str(name)] = arrow.array([record.get(name) for record in records])
    return arrow.table(columns)


def is_frame(value: Any) -> bool:
    """Return whether it is a data frame of pandas or polars, or an Arrow table."""
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    return module in ("pandas", "polars", "pyarrow") and kind.__name__ in ("DataFrame", "Table")
