"""Random 64-bit words from other ones."""

from __future__ import annotations

from typing import Any

_MASK = 2**64 - 1


def mix(word: int, number: int) -> int:
    """Return the word of that number that follows from another one: splitmix64 (Steele, Lea and Flood, 2014)."""
    z = (word + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def share(word: int) -> float:
    """Return a number in [0, 1) from a word."""
    return float(word >> 11) * 2.0**-53


def pick(options: Any, weights: Any, word: int) -> Any:
    """Return one of `options`, in proportion to the weights."""
    at = share(word) * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        at -= weight
        if at < 0:
            return option
    return options[-1]
