"""The contract of a metric, executable: run it on any metric, built in or installed."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from ..core.errors import UserError
from ..metrics.base import FigureInfo, Metric
from .refusal import refusal

Kind = type[Metric]


def check_metric(kind: Kind, *, count: int = 300, width: int = 6, seed: int = 0) -> None:
    """Check that a metric describes its figures, is ideal on equal sets, and worse under noise or lost modes.

    Its figures must not depend on the order of batches and processes, and it must refuse bad input and fewer than
    `min_items` items. Raises AssertionError that says which promise is broken.
    """
    random = torch.Generator().manual_seed(seed)
    real = torch.randn(count, width, generator=random, dtype=torch.float64)
    real[: count // 2, 0] += 8  # two modes
    noise = torch.randn(count, width, generator=random, dtype=torch.float64)
    _check_description(kind)
    _check_values(kind, real, noise)
    _check_merging(kind, real, real.flip(0) + 0.5 * noise)
    _check_refusals(kind, real)


def _check_description(kind: Kind) -> None:
    assert kind.figures, "the metric describes no figures"
    for key, info in kind.figures.items():
        assert info.name, f"the figure {key} has no name"
        assert info.meaning.endswith("."), f"the meaning of {key} is no sentence: {info.meaning!r}"


def _check_values(kind: Kind, real: Tensor, noise: Tensor) -> None:
    def losses(generated: Tensor) -> dict[str, float]:
        return {key: _loss(kind.figures[key], value) for key, value in _measure(kind, real, generated).items()}

    equal = _measure(kind, real, real)
    assert set(equal) == set(kind.figures), f"compute returns {sorted(equal)}, figures are {sorted(kind.figures)}"
    assert all(isinstance(value, float) and math.isfinite(value) for value in equal.values()), equal
    assert max(losses(real).values()) < 1e-6, f"not ideal on equal sets: {equal}"
    # A figure may be blind to one fault (recall and variety to noise, precision to a lost mode), but not to both.
    noisy = [losses(real + scale * noise) for scale in (0.0, 1.0, 2.0, 4.0)]
    lost = losses(real[: len(real) // 2])
    for key in kind.figures:
        curve = [level[key] for level in noisy]
        rises = all(later >= earlier - 0.02 for earlier, later in pairwise(curve))
        assert (rises and curve[-1] > 0.05) or lost[key] > 0.05, (
            f"{key} detects neither noise {curve} nor a lost mode {lost}"
        )


def _check_merging(kind: Kind, real: Tensor, generated: Tensor) -> None:
    """Check that one pass, two processes and another order give the same figures."""
    count, first, second = len(real), kind(), kind()
    for part, items in ((second, slice(count // 3, None)), (first, slice(0, count // 3))):
        for start in range(0, len(real[items]), 50):
            part.update(generated[items][start : start + 50], real=False)
            part.update(real[items][start : start + 50], real=True)
    second.merge(first)
    merged = second.compute()
    for key, value in _measure(kind, real, generated).items():
        assert math.isclose(value, merged[key], rel_tol=1e-9, abs_tol=1e-9), (
            f"{key}: {value} whole, {merged[key]} merged"
        )


def _check_refusals(kind: Kind, real: Tensor) -> None:
    width = real.shape[1]
    for spoiled, problem in ((torch.full((4, width), torch.nan), "NaN"), (torch.zeros(4), "a wrong shape")):
        refused = refusal(UserError, partial(kind().update, spoiled, real=True))
        assert refused is not None, f"features with {problem} are not refused"
    for number in (0, kind.min_items(width) - 1):
        refused = refusal(UserError, partial(_measure, kind, real[:number], real[:number]))
        assert refused is not None, f"compute with {number} items is not refused; min_items is {kind.min_items(width)}"


def _measure(kind: Kind, real: Tensor, generated: Tensor) -> dict[str, float]:
    metric = kind()
    if len(real):
        metric.update(real, real=True)
        metric.update(generated, real=False)
    return metric.compute()


def _loss(info: FigureInfo, value: float) -> float:
    """Return how much worse than ideal a figure is; 0 where it is better."""
    if info.better == "near":
        return abs(info.ideal - value)
    return max(0.0, info.ideal - value if info.better == "higher" else value - info.ideal)
