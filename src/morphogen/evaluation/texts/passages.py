"""Long texts in pieces, where there are too few to compare."""

from __future__ import annotations

from collections.abc import Sequence

_FEW, _SHORTEST = 50, 40  # texts, and characters of a passage


def length_of(texts: Sequence[str], generated: Sequence[str]) -> int | None:
    """How long passages have to be to be as long as generated texts; None where there are texts enough as it is."""
    if len(texts) >= _FEW or not generated:
        return None
    median = sorted(map(len, generated))[len(generated) // 2]
    return max(_SHORTEST, median)


def spread(texts: list[str], most: int) -> list[str]:
    """At most so many of them, evenly."""
    return texts if len(texts) <= most else [texts[at * len(texts) // most] for at in range(most)]


def passages(texts: Sequence[str], length: int) -> list[str]:
    """Pieces of `length` characters, one after the other; a rest of less than half of it is left out."""
    return [
        text[start : start + length]
        for text in texts
        for start in range(0, len(text), length)
        if start == 0 or len(text) - start >= length / 2
    ]
