"""Independent columns."""

from __future__ import annotations

from typing import Any

import numpy as np


def independent(table: Any, count: int, *, seed: int = 0) -> Any:
    """Return rows whose cells are sampled from each real column independently."""
    import pyarrow as arrow

    random = np.random.default_rng(seed)
    columns = [column.take(random.integers(0, len(table), count)) for column in table.columns]
    return arrow.table(columns, schema=table.schema)
