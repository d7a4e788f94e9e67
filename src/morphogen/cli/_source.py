"""The source that a command line names, opened once: its modality decides which flags there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._flags import flag_value, positional

if TYPE_CHECKING:
    from ..data.base import Source

SOURCE_HELP = "A folder, a file, a Hub data set id, or digits."
COLUMN_HELP = "Column of the items, in a table with several."
SEPARATOR_HELP = (
    "What separates the documents of a text file: line, blank, blanks, break, none, or a text; None: detected."
)


def open_argument(arguments: Sequence[str], recipe: Mapping[str, Any] | None = None) -> Source | None:
    """Return the opened source that the arguments, or a recipe, name; None where they name none.

    Raises UserError where it cannot be opened.
    """
    recipe = recipe or {}
    spec = positional(arguments) or recipe.get("source")
    if spec is None:
        return None
    from ..data.sources import open_source

    flags = {name: flag_value(arguments, name) for name in ("modality", "column", "separator")}
    modality, column, separator = (recipe.get(name) if flag is None else flag for name, flag in flags.items())
    return open_source(spec, modality, column, separator)
