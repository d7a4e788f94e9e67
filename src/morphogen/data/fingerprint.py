"""Whether a source is still what it was."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from morphogen.core.errors import BadItem

from .base import Source

_ITEMS = 64  # items whose content is read


def source_digest(source: Source) -> str:
    """Return a digest of the names of all items and the content of some, by which a changed source is noticed."""
    digest = hashlib.sha256(str(len(source)).encode())
    for name in source.item_names():
        digest.update(name.encode("utf-8", "replace") + b"\0")
    for index in np.unique(np.linspace(0, len(source) - 1, min(_ITEMS, len(source))).astype(int)).tolist():
        try:
            digest.update(_content(source.read(index)))
        except BadItem:
            digest.update(b"bad")
    return digest.hexdigest()


def _content(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    if hasattr(item, "to_pylist"):
        return repr(item.to_pylist()).encode("utf-8", "replace")
    return item.tobytes() if hasattr(item, "tobytes") else repr(item).encode()
