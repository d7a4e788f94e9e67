"""Dates and times as the numbers by which people live: hour, weekday, month and year."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

PARTS = ("hour", "weekday", "month", "year")


class DatePart(NamedTuple):
    """One part of a column of dates or times."""

    column: str
    part: str

    @property
    def name(self) -> str:
        return f"{self.column} · {self.part}"


def find_date_parts(table: Any) -> list[DatePart]:
    """Return the parts that vary, of each column of dates or times."""
    import pyarrow.types as types

    parts: list[DatePart] = []
    for field in table.schema:
        if types.is_timestamp(field.type) or types.is_date(field.type):
            names: Sequence[str] = PARTS if types.is_timestamp(field.type) else PARTS[1:]
        else:
            names = PARTS[:1] if types.is_time(field.type) else ()
        parts += [DatePart(field.name, name) for name in names if _varies(table.column(field.name), name)]
    taken = set(table.column_names)
    return [one for one in parts if one.name not in taken]


def with_date_parts(table: Any, parts: list[DatePart]) -> Any:
    """Return the table with a column of whole numbers for each part, after its own columns."""
    for one in parts:
        table = table.append_column(one.name, _values(table.column(one.column), one.part))
    return table


def _varies(column: Any, part: str) -> bool:
    import pyarrow.compute as compute

    values = compute.drop_null(_values(column, part))
    return len(compute.unique(values)) > 1


def _values(column: Any, part: str) -> Any:
    """Return one part of dates or times, int64; Monday is the weekday 0."""
    import pyarrow.compute as compute

    functions = {
        "hour": compute.hour,
        "weekday": compute.day_of_week,
        "month": compute.month,
        "year": compute.year,
    }
    return functions[part](column)
