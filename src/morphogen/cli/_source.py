"""What commands on a source have to know of it before all flags are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import UserError
from ._flags import flag_value, positional


def taken_for(arguments: Sequence[str], recipe: Mapping[str, Any]) -> str:
    """The modality of the source; where it cannot be opened, that of pictures: the fit itself will say why."""
    source = positional(arguments) or recipe.get("source")
    if source is None or "--resume" in arguments:
        return "image"
    from ..data.sources import open_source

    try:
        column, separator = flag_value(arguments, "column"), flag_value(arguments, "separator")
        return open_source(source, None, column or recipe.get("column"), separator or recipe.get("separator")).modality
    except UserError:
        return "image"
