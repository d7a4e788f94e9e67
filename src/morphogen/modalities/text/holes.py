"""Where texts are to be filled in: at a character that stands for one to come."""

from __future__ import annotations

import re
from collections.abc import Sequence

from morphogen.core.errors import UserError

from .codec import Spans

_MARK = "_"


def find(items: Sequence[str], where: str | None) -> list[Spans]:
    """The spans of characters to fill in, for each text: where the mark stands, `_` unless `where` is another one.

    Raises UserError where the mark is no single character, and on a text without one.
    """
    mark = _MARK if where is None else where
    if len(mark) != 1:
        raise UserError(f"--mask {mark} has {len(mark)} characters; of texts it is the one that stands for a gap, as _")
    spans: list[Spans] = [[found.span() for found in re.finditer(f"{re.escape(mark)}+", item)] for item in items]
    for number, (item, found) in enumerate(zip(items, spans, strict=True)):
        if not found:
            raise UserError(
                f"document {number} ({item[:40]!r}) has no '{mark}': nothing is to be filled in; write one for each "
                "character to come, or give --mask"
            )
    return spans
