"""Tables: rows of a file or a data frame, held together and read in blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

from .base import Source, readers

_OFTEN = 0.1  # of the rows, found more than once, beyond which that is what the table is like


class TableSource(Source):
    """The rows of an Arrow table; rows that are alike have one name, so that none is on both sides of a split.

    But where many are: a split that keeps all of a kind together would then leave out kinds of rows, and what is left
    would not be distributed as the table is.
    """

    def __init__(self, table: Any, modality: str, described: str, test: NDArray[np.bool_] | None = None) -> None:
        self._table, self.modality, self.test = table, modality, test
        self.description = f"{described}: {table.num_rows:,} rows, {table.num_columns} columns"

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def read(self, index: int) -> Any:
        return self.block(np.array([index]))

    def block(self, indices: NDArray[np.int64]) -> Any:
        """An Arrow table of the rows, in that order."""
        if len(indices) and bool((np.diff(indices) == 1).all()):
            return self._table.slice(int(indices[0]), len(indices))
        return self._table.take(indices)

    def item_name(self, index: int) -> str:
        return self.item_names()[index]

    def item_names(self) -> list[str]:
        """A digest of each row, with the number of those before it that are alike where many are."""
        digests = np.zeros(len(self), dtype=np.uint64)
        for number, column in enumerate(self._table.columns):
            digests = (digests ^ _digests(column)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(number)
        names = [f"{digest:016x}" for digest in digests.tolist()]
        _, kind, often = np.unique(digests, return_inverse=True, return_counts=True)
        if (often[kind] > 1).mean() <= _OFTEN:
            return names
        order = np.argsort(kind, kind="stable")
        before = np.empty(len(order), dtype=np.int64)
        before[order] = np.arange(len(order)) - (np.cumsum(often) - often)[kind[order]]
        return [f"{name}-{count}" for name, count in zip(names, before.tolist(), strict=True)]


def _digests(column: Any) -> NDArray[np.uint64]:
    """A number for each cell that its value settles, whatever other cells there are."""
    import hashlib

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


def open_table(path: Path, modality: str) -> TableSource:
    """A csv or parquet file as a table. Raises BadItem where it is none."""
    return TableSource(readers()[modality].read(path), modality, path.name)


def open_split(path: Path, modality: str | None) -> TableSource | None:
    """A folder of two files of tables, `train` and `test`, as one with its own test split; None: it is none."""
    if modality not in (None, "table"):
        return None
    parts = {part: sorted(one for one in path.glob(f"{part}.*") if is_table(one.name)) for part in ("train", "test")}
    if any(len(files) != 1 for files in parts.values()):
        return None
    import pyarrow as arrow

    tables = [readers()["table"].read(files[0]) for files in parts.values()]
    if tables[0].column_names != tables[1].column_names:
        raise UserError(
            f"{parts['train'][0]} has the columns {', '.join(tables[0].column_names)}, and {parts['test'][0].name} "
            f"{', '.join(tables[1].column_names)}; give both the same"
        )
    try:
        whole = arrow.concat_tables([tables[0], tables[1].cast(tables[0].schema)])
    except arrow.ArrowException as error:
        raise UserError(f"{parts['test'][0]} does not hold what {parts['train'][0].name} does: {error}") from None
    test = np.arange(whole.num_rows) >= tables[0].num_rows
    return TableSource(whole, "table", f"{parts['train'][0].name} and {parts['test'][0].name}", test)


def is_table(name: str) -> bool:
    """Whether a file is named as tables are."""
    return name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet", ".data"))


def open_frame(frame: Any) -> TableSource:
    """A data frame of pandas or polars, or an Arrow table. Raises BadItem where it is none."""
    return TableSource(readers()["table"].from_frame(frame), "table", "a data frame in memory")


def is_frame(value: Any) -> bool:
    """Whether it is a data frame of a library that is known."""
    kind = type(value)
    return kind.__module__.partition(".")[0] in ("pandas", "polars", "pyarrow") and kind.__name__ in (
        "DataFrame",
        "Table",
    )
