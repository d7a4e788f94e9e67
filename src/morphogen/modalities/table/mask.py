"""Which cells of a table are missing and are to be imputed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError, unknown

from .files import data_names


def missing_cells(table: Any, columns: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Return bool `(rows, columns of the table)`: the missing cells of the named columns, or of all.

    Raises UserError where no cell is missing, or a column does not exist.
    """
    names = data_names(table)
    for name in columns:
        if name not in names:
            raise unknown("column", name, names)
    mask = np.zeros((table.num_rows, len(names)), dtype=np.bool_)
    for at, name in enumerate(names):
        if not columns or name in columns:
            mask[:, at] = table.column(name).is_null().to_numpy()
    if not mask.any():
        where = f" in column {', '.join(columns)}" if columns else ""
        raise UserError(f"no cell is missing{where}, so there is nothing to impute; leave the cells to impute empty")
    return mask
