"""Where tables are to be filled in: where cells are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError


def find(items: Any, where: str | None) -> NDArray[np.bool_]:
    """Bool `(rows, columns)`, true where a cell is missing; `where` names the columns, parted by commas, that count.

    Raises UserError where nothing is missing, or a column is not there.
    """
    names = items.column_names
    asked = [name.strip() for name in where.split(",")] if where else names
    for name in asked:
        if name not in names:
            raise UserError(f"--mask names a column '{name}' that is not there; there are {', '.join(names)}")
    holes = np.stack(
        [
            np.asarray(column.is_null().to_numpy()) & (name in asked)
            for name, column in zip(names, items.columns, strict=True)
        ],
        axis=1,
    )
    if not holes.any():
        raise UserError("no cell is missing: nothing is to be filled in; leave cells empty where it is")
    return holes
