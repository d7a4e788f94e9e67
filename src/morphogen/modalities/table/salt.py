"""Numbers that settle what symbols leave open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALPHABET, COUNT = 2**16, 2  # of the symbols that a row ends with


def salt_of(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Of rows that are encoded, a number that their symbols settle."""
    words = np.zeros(len(parts[0]), dtype=np.uint64)
    for symbols in parts:
        for column in symbols.T:
            words = mixed(words ^ column.astype(np.uint64), 1)
    return np.stack((words >> np.uint64(48), (words >> np.uint64(32)) & np.uint64(ALPHABET - 1)), axis=1).astype(
        np.int64
    )


def mixed(words: NDArray[np.uint64], number: int) -> NDArray[np.uint64]:
    """Other 64-bit words, spread evenly (SplitMix64's finaliser, Steele et al. 2014)."""
    words = words + np.uint64((number + 1) * 0x9E3779B97F4A7C15 % 2**64)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
