"""The tables of the benchmark, each a folder with `train.parquet` and `test.parquet`, and their targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

TARGETS = {"adult": "income", "shoppers": "Revenue", "magic": "class", "beijing": "pm2.5"}
_FILES = {
    "shoppers": "online_shoppers_intention.csv.gz",
    "magic": "magic04.data.gz",
    "beijing": "PRSA_data_2010.1.1-2014.12.31.csv.gz",
}
_ADULT = [
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
]


def write(name: str, data: Path, folder: Path) -> tuple[Any, Any]:
    """Write both parts, and return them as Arrow tables. Adult has its official split, the others have TabSyn's."""
    import pyarrow.parquet as parquet

    parts = read(name, data)
    folder.mkdir(parents=True, exist_ok=True)
    for part, table in zip(("train", "test"), parts, strict=True):
        parquet.write_table(table.replace_schema_metadata(None), folder / f"{part}.parquet")
    return parts


def read(name: str, data: Path) -> tuple[Any, Any]:
    """Return the training and the test rows of one of `TARGETS`."""
    return _adult(data / "tables") if name == "adult" else _split(name, data / "tables")


def read_csv(path: Path) -> Any:
    from morphogen.core.modality import modality

    return modality("table").read(path, str(path)).replace_schema_metadata(None)


def _adult(tables: Path) -> tuple[Any, Any]:
    """Return both parts of Adult, whose test part has a full stop after each label."""
    import pyarrow.compute as compute

    parts = [read_csv(tables / f"adult.{part}.gz").rename_columns(_ADULT) for part in ("data", "test")]
    at = _ADULT.index("income")
    parts[1] = parts[1].set_column(at, "income", compute.utf8_rtrim(parts[1].column("income"), "."))
    return parts[0], parts[1].cast(parts[0].schema)


def _split(name: str, tables: Path) -> tuple[Any, Any]:
    """Return both parts by TabSyn's row numbers; of Beijing only rows with a target, without their number."""
    import pyarrow.compute as compute

    table = read_csv(tables / _FILES[name])
    if name == "magic":
        table = table.rename_columns(json.loads((tables / "tabsyn_info" / "magic.json").read_text())["column_names"])
    if name == "beijing":
        table = table.drop_columns(["No"]).filter(compute.is_valid(table.column("pm2.5")))
    rows = np.load(tables / "tabsyn_info" / "tabsyn_splits.npz")
    return table.take(rows[f"{name}_train"]), table.take(rows[f"{name}_test"])
