"""Histograms of real and of generated values in the same bins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.results import Distribution

_BINS = 24


def histogram(
    name: str, real: NDArray[Any], generated: NDArray[Any], label: Callable[[float], str] = "{:.3g}".format
) -> Distribution:
    """Return both in equal bins over the range of all values, without the outermost thousandths.

    `label` writes the lower edge of a bin.
    """
    both = np.concatenate([real, generated]).astype(np.float64)
    low, high = np.quantile(both, [0.001, 0.999])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    shares = [np.histogram(np.clip(x, low, high), edges)[0] / max(1, len(x)) for x in (real, generated)]
    return Distribution(name, [label(float(edge)) for edge in edges[:-1]], shares[0], shares[1])
