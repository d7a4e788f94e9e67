"""Baselines of tables: each keeps the schema, and the dependence that it models and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as arrow
import pytest

from morphogen.modalities.table import baselines
from morphogen.modalities.table.statistics.c2st import c2st_auc
from morphogen.modalities.table.statistics.column_quality import shape


def dependent_table() -> arrow.Table:
    random = np.random.default_rng(0)
    group = random.integers(0, 3, 3000)
    x = 3.0 * group + random.normal(size=3000)
    word = np.array(["a", "b", None], dtype=object)[(group + (random.random(3000) < 0.1)) % 3]
    return arrow.table({"group": group, "x": x, "word": word.tolist(), "flag": (x > 3).tolist()})


@pytest.mark.parametrize("baseline", [baselines.independent, baselines.mixture, baselines.sequential_trees])
def test_schema_columns_and_what_they_have_to_do_with_each_other(baseline: Any) -> None:
    table = dependent_table()
    synthetic = baseline(table, 2500, seed=1)
    assert synthetic.schema == table.schema
    assert synthetic.num_rows == 2500
    assert baseline(table, 2500, seed=1).equals(synthetic)
    assert not baseline(table, 2500, seed=2).equals(synthetic)
    assert shape(table, synthetic) > 0.96
    auc = c2st_auc(table, synthetic)
    assert auc > 0.9 if baseline is baselines.independent else auc < 0.6


@pytest.mark.parametrize("baseline", [baselines.independent, baselines.mixture, baselines.sequential_trees])
def test_the_smallest_tables(baseline: Any) -> None:
    for table in (arrow.table({"a": [1]}), arrow.table({"a": [1.5, None], "b": [None, "x"]})):
        assert baseline(table, 5).num_rows == 5
