"""The tables that an evaluation compares: the same informative columns of each sample, dates and times in parts."""

from __future__ import annotations

from typing import Any, NamedTuple

from morphogen.core.judge import Comparison

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


def tables_of(comparison: Comparison[Any], least: int = LEAST) -> Tables:
    """Return the tables, with a column for each part of dates and times that varies among real rows."""
    real = _select(comparison, comparison.real.items)
    parts = find_date_parts(real)

    def comparable(sample: Any) -> Any:
        table = _select(comparison, sample.items).cast(real.schema, safe=False)
        return with_date_parts(table, parts)

    train, baseline = comparison.train_matched, comparison.baseline
    return Tables(
        real=with_date_parts(real, parts),
        generated=comparable(comparison.generated),
        train=comparable(train) if train and len(train) >= least else None,
        baseline=comparable(baseline) if baseline is not None else None,
        parts=parts,
    )


def pair_of(comparison: Comparison[Any], other: Any) -> tuple[Any, Any]:
    """Return real rows and other ones, with the same columns."""
    real = _select(comparison, comparison.real.items)
    parts = find_date_parts(real)
    return with_date_parts(real, parts), with_date_parts(
        _select(comparison, other).cast(real.schema, safe=False), parts
    )


def _select(comparison: Comparison[Any], items: Any) -> Any:
    """Return the columns that say something of a row: no keys, no personal data that is generated, no free text."""
    codec: Any = comparison.codec
    names = [
        name
        for name in comparison.real.items.column_names
        if name not in codec.unmodelled or codec.column_types[name].kind in _DERIVED
    ]
    return items.select(names).slice(0, MOST)
