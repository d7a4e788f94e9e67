"""The tables that an evaluation compares: the same informative columns of each sample.

Dates and times are also compared by their parts, and by how far one is from another that it follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from morphogen.core.judge import Comparison

from .statistics.date_differences import DateDifference, find_date_differences, with_date_differences
from .statistics.date_parts import DatePart, find_date_parts, with_date_parts

LEAST, MOST = 50, 20_000  # rows
_DERIVED = ("constant", "sum")  # kinds of columns that are not modelled, and still say something of a row


class Tables(NamedTuple):
    """The same columns of each sample; without enough training rows there is no `train`."""

    real: Any
    generated: Any
    train: Any | None
    baseline: Any | None
    parts: list[DatePart]
    differences: Sequence[DateDifference] = ()
    differences_left_out: int = 0

    @property
    def derived(self) -> list[str]:
        """The names of the columns that no table of the user has."""
        return [*(part.name for part in self.parts), *(one.name for one in self.differences)]

    def derived_from(self, column: str) -> list[str]:
        """Return the names of the parts and differences of one column."""
        parts = [one.name for one in self.parts if one.column == column]
        return parts + [one.name for one in self.differences if column in (one.earlier, one.later)]


def tables_of(comparison: Comparison[Any], least: int = LEAST) -> Tables:
    """Return the tables, with columns for the parts of dates and times that vary, and for their differences."""
    real = _select(comparison, comparison.real.items)
    parts = find_date_parts(real)
    differences, left_out = find_date_differences(real)

    def comparable(sample: Any) -> Any:
        return derive(_select(comparison, sample.items).cast(real.schema, safe=False))

    def derive(table: Any) -> Any:
        return with_date_differences(with_date_parts(table, parts), differences)

    train, baseline = comparison.train_matched, comparison.baseline
    return Tables(
        real=derive(real),
        generated=comparable(comparison.generated),
        train=comparable(train) if train and len(train) >= least else None,
        baseline=comparable(baseline) if baseline is not None else None,
        parts=parts,
        differences=differences,
        differences_left_out=left_out,
    )


def pair_of(comparison: Comparison[Any], other: Any) -> tuple[Any, Any]:
    """Return real rows and other ones, with the same columns."""
    real = _select(comparison, comparison.real.items)
    parts, (differences, _) = find_date_parts(real), find_date_differences(real)
    others = _select(comparison, other).cast(real.schema, safe=False)
    first, second = (with_date_differences(with_date_parts(table, parts), differences) for table in (real, others))
    return first, second


def _select(comparison: Comparison[Any], items: Any) -> Any:
    """Return the columns that say something of a row: no keys, no personal data that is generated, no free text."""
    codec: Any = comparison.codec
    names = [
        name
        for name in comparison.real.items.column_names
        if name not in codec.unmodelled or codec.column_types[name].kind in _DERIVED
    ]
    return items.select(names).slice(0, MOST)
