"""Columns that know nothing of each other."""

from __future__ import annotations

from typing import Any

import numpy as np


def independent(table: Any, count: int, *, seed: int = 0) -> Any:
    """Rows of cells that are drawn from each real column by itself: what every model has to beat."""
    import pyarrow as arrow

    random = np.random.default_rng(seed)
    columns = [column.take(random.integers(0, len(table), count)) for column in table.columns]
    return arrow.table(columns, schema=table.schema)
