"""What a user may decide about tables; imports no torch, since the command line reads it first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from morphogen.core.config import Frozen
from morphogen.core.query import Query


def column_name(label: Any) -> Any:
    """Return the name of a column in Arrow by its label in a data frame, such as 2020 or ('a', 1); text as it is."""
    if isinstance(label, str):
        return label
    if isinstance(label, tuple):
        label = tuple(one.item() if hasattr(one, "item") else one for one in label)
    return str(label)


def _by_name(values: Any) -> Any:
    """Return values by label as values by name. Raises ValueError where two labels have one name."""
    if not isinstance(values, Mapping):
        return values
    named = {column_name(label): value for label, value in values.items()}
    if len(named) < len(values):
        names = [column_name(label) for label in values]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the column '{twice}' twice, as text and as another label; give it once")
    return named


Kind = Literal["integer", "float", "category", "boolean", "datetime", "key", "personal", "constant", "free_text"]


class Options(Frozen):
    """How tables are encoded; what is not set is inferred and reported."""

    kinds: dict[str, Kind] = Field(
        {}, description="Columns whose kind is not the one that their values suggest, such as zip category."
    )
    schema_file: Path | None = Field(
        None, description="Or --schema: kinds and formats of columns, as `inspect --out` writes them."
    )
    constraints: tuple[str, ...] = Field(
        (),
        description="Rules that all rows satisfy: 'a <= b', 'total = a + b', 'a >= 0', 'unique a', 'fixed a b', "
        "'one-hot a b c', 'a missing unless b = value'.",
    )
    bins: int = Field(
        128, ge=2, le=1024, description="Bins of about equal mass for a column of many numbers, of 8 cells each."
    )
    rare: int = Field(
        5,
        ge=1,
        description="Values in fewer rows than this are never output, nor are that many of the smallest and largest "
        "numbers of a column.",
    )
    rare_as: Literal["other", "missing"] = Field(
        "other",
        description="What rare values of a column of text become: 'other', or missing. Rare values of other types are "
        "missing, a rare boolean is the other one, and a rare number the nearest that is frequent.",
    )

    _names = field_validator("kinds", mode="before")(_by_name)


class TableQuery(Query):
    """What rows have to satisfy."""

    condition: dict[str, Any] = Field(
        {},
        description="Values by column: a value, 30..40, >=30, <=40, a|b or missing; 'all' makes equally many rows of "
        "each value, one value after the other.",
    )

    _names = field_validator("condition", mode="before")(_by_name)


class Mask(Frozen):
    """Which cells are imputed."""

    mask: tuple[str, ...] = Field((), description="Columns whose missing cells are imputed; none named: all columns.")

    @field_validator("mask", mode="before")
    @classmethod
    def _one_column(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        return tuple(map(column_name, value)) if isinstance(value, (list, tuple)) else value
