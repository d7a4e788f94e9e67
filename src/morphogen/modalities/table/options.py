"""What a user may decide about tables; imports no torch, for the command line reads it first."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from morphogen.core.config import Frozen

FAMILY = "autoregressive"  # what is fitted where no family is named

Kind = Literal["integer", "float", "category", "boolean", "datetime", "key", "personal", "constant", "text"]


class Options(Frozen):
    """What a user may decide about tables; what is left open is inferred and said aloud."""

    kinds: dict[str, Kind] = Field(
        {}, description="Columns that are taken for another kind than they look like, such as zip category."
    )
    kinds_file: Path | None = Field(None, description="The same in a TOML file, one line a column: zip = 'category'.")
    constraints: tuple[str, ...] = Field(
        (),
        description="What rows obey, in words: 'a <= b', 'total = a + b', 'a >= 0', 'unique a', 'fixed a b', "
        "'one-hot a b c', 'a missing unless b = value'.",
    )
    bins: int = Field(128, ge=2, le=1024, description="Bins of about equal mass that a column of many numbers has.")
    rare: int | None = Field(
        None,
        ge=1,
        description="Values of fewer rows are not told apart, nor are so many at either end of a column of numbers; "
        "None: 5, of fewer than 500 rows a hundredth.",
    )
