"""Mean and standard deviation of data, with which models standardise them."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.model import Batch


def moments(batches: Iterable[Batch]) -> tuple[float, float]:
    """Return mean and standard deviation over all values of all items; the deviation is at least 0.001."""
    count, total, squares = 0, 0.0, 0.0
    for batch in batches:
        x = batch.x.double()
        count, total, squares = count + x.numel(), total + x.sum().item(), squares + x.square().sum().item()
    mean = total / count
    return mean, max(squares / count - mean**2, 1e-6) ** 0.5
