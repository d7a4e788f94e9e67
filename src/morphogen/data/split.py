"""A test split by hash: the same item falls on the same side however many others there are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def split_by_hash(names: Sequence[str], share: float = 0.1, seed: int = 0) -> NDArray[np.bool_]:
    """Return which items are held out, bool: at least one, and not all, where there are ten or more names."""
    words = (
        hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names
    )
    position = np.array([int.from_bytes(word, "little") for word in words], dtype=np.float64) / 2.0**64
    test = position < share
    if len(names) >= 10 and 0 < share < 1:
        if not test.any():
            test[position.argmin()] = True
        if test.all():
            test[position.argmax()] = False
    return test
