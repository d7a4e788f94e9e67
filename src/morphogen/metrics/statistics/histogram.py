"""Histograms of real and of generated values in the same bins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.results import Distribution

_BINS = 24
_WHOLE = 100_000  # whole numbers below it are written out


def plain_label(value: float) -> str:
    """Return three significant digits, or all of a small whole number, such as a year."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < _WHOLE else f"{value:.3g}"


def histogram(
    name: str, real: NDArray[Any], generated: NDArray[Any], label: Callable[[float], str] = plain_label
) -> Distribution:
    """Return both in equal bins over the range of all values, without the outermost thousandths.

    Bins of whole numbers hold as many of them each: others would leave gaps. `label` writes the lower edge of a bin.
    """
    both = np.concatenate([real, generated]).astype(np.float64)
    low, high = np.quantile(both, [0.001, 0.999])
    if bool((both == np.rint(both)).all()):
        first, count = math.floor(low), math.ceil(high) - math.floor(low) + 1
        step = math.ceil(count / _BINS)
        edges = first + step * np.arange(math.ceil(count / step) + 1, dtype=np.float64)
    else:
        low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
        edges = np.linspace(low, high, _BINS + 1)
    shares = [np.histogram(np.clip(x, low, high), edges)[0] / max(1, len(x)) for x in (real, generated)]
    return Distribution(name, [label(float(edge)) for edge in edges[:-1]], shares[0], shares[1])
