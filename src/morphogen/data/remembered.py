"""Sources in memory, for as long as what was fitted to them: nothing can open them again."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from .base import Source

_SOURCES: WeakKeyDictionary[Any, Source] = WeakKeyDictionary()


def remember(owner: Any, source: Source) -> None:
    """Keep a source in memory that `owner` was fitted to; it is neither saved nor pickled with the owner."""
    if source.spec is None:
        _SOURCES[owner] = source


def remembered(owner: Any) -> Source | None:
    """Return the source in memory that `owner` was fitted to in this process."""
    return _SOURCES.get(owner)
