"""Passages of long texts, where there are too few texts to compare."""

from __future__ import annotations

from collections.abc import Sequence

_FEW, _SHORTEST, _MOST = 50, 40, 20_000  # texts, characters of a passage, and passages
_SHORTENED = 250  # characters, down to which passages are shortened so that there are enough; of less text, half of it


def passage_length(texts: Sequence[str], generated: Sequence[str]) -> int | None:
    """Return the length of passages; None where there are enough real texts.

    That is the median length of generated texts, but of long ones less where the real texts would make few passages.
    """
    if len(texts) >= _FEW or not generated:
        return None
    median = sorted(map(len, generated))[len(generated) // 2]
    total = sum(map(len, texts))
    enough = max(min(_SHORTENED, total // 2), total // _FEW)
    return max(_SHORTEST, min(median, enough))


def thin(texts: list[str], most: int = _MOST) -> list[str]:
    """Return at most so many of the texts, evenly spaced."""
    return texts if len(texts) <= most else [texts[index * len(texts) // most] for index in range(most)]


def passages(texts: Sequence[str], length: int) -> list[str]:
    """Return consecutive passages of `length` characters; a remainder of less than half of that is left out."""
    return [
        text[start : start + length]
        for text in texts
        for start in range(0, len(text), length)
        if start == 0 or len(text) - start >= length / 2
    ]
