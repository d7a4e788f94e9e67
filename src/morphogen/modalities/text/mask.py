"""Which parts of texts are missing: those where a mark stands for each missing character."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field

from morphogen.core.config import Frozen
from morphogen.core.errors import UserError

Spans = Sequence[tuple[int, int]]  # from a character, up to another


class Mask(Frozen):
    """Which parts of texts are missing."""

    mask: str = Field("_", description="The character that stands for each missing one.")


def find_spans(items: Sequence[str], mask: Mask) -> list[Spans]:
    """Return the spans of missing characters in each text.

    Raises UserError where the mark is no single character, and on a text without one.
    """
    mark = mask.mask
    if len(mark) != 1:
        raise UserError(f"--mask {mark} has {len(mark)} characters; expected the one that stands for a gap, such as _")
    spans: list[Spans] = [[match.span() for match in re.finditer(f"{re.escape(mark)}+", item)] for item in items]
    for number, (item, gaps) in enumerate(zip(items, spans, strict=True)):
        if not gaps:
            raise UserError(
                f"document {number} ({item[:40]!r}) has no '{mark}', so nothing is missing; write one for each missing "
                "character, or give --mask"
            )
    return spans
