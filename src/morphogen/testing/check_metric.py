"""The contract of a metric, executable: run it on any metric, built in or installed."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from ..core.errors import UserError
from ..evaluation.metrics.base import Metric


def check_metric(kind: type[Metric], *, count: int = 300, width: int = 6, seed: int = 0) -> None:
    """Ideal on equal sets, worse under noise and under lost modes, the same however it is fed, and strict about input.

    Raises AssertionError that says which promise is broken.
    """
    random = torch.Generator().manual_seed(seed)
    real = torch.randn(count, width, generator=random, dtype=torch.float64)
    real[: count // 2, 0] += 8  # two modes
    noise = torch.randn(count, width, generator=random, dtype=torch.float64)

    def judge(generated: torch.Tensor) -> dict[str, float]:
        metric = kind()
        metric.update(real, real=True)
        metric.update(generated, real=False)
        return metric.compute()

    def losses(generated: torch.Tensor) -> dict[str, float]:
        """How much worse than ideal each figure is; 0 where it is better."""
        sign = 1 if kind.higher_is_better else -1
        return {name: max(0.0, sign * (kind.ideal[name] - value)) for name, value in judge(generated).items()}

    equal = judge(real)
    assert set(equal) == set(kind.ideal), f"compute gives {sorted(equal)}, ideal names {sorted(kind.ideal)}"
    assert all(isinstance(value, float) and math.isfinite(value) for value in equal.values()), equal
    assert max(losses(real).values()) < 1e-6, f"not ideal on equal sets: {equal}"

    # A figure may be blind to one spoiling (recall and variety to noise, precision to a lost mode), but not to both.
    noisy = [losses(real + scale * noise) for scale in (0.0, 1.0, 2.0, 4.0)]
    lost = losses(real[: count // 2])
    for name in kind.ideal:
        curve = [level[name] for level in noisy]
        rises = all(later >= earlier - 0.02 for earlier, later in pairwise(curve))
        assert (rises and curve[-1] > 0.05) or lost[name] > 0.05, (
            f"{name} sees neither noise {curve} nor a lost mode {lost}"
        )

    # One pass, two processes, and another order give one answer.
    generated = real.flip(0) + 0.5 * noise
    whole, first, second = judge(generated), kind(), kind()
    for part, rows in ((second, slice(count // 3, None)), (first, slice(0, count // 3))):
        for start in range(0, len(real[rows]), 50):
            part.update(generated[rows][start : start + 50], real=False)
            part.update(real[rows][start : start + 50], real=True)
    second.merge(first)
    merged = second.compute()
    for name, value in whole.items():
        assert math.isclose(value, merged[name], rel_tol=1e-9, abs_tol=1e-9), (
            f"{name}: {value} whole, {merged[name]} merged"
        )

    for spoiled, problem in ((torch.full((4, width), torch.nan), "NaN"), (torch.zeros(4), "a wrong shape")):
        try:
            kind().update(spoiled, real=True)
        except UserError:
            continue
        raise AssertionError(f"features with {problem} are taken without a word")
    try:
        kind().compute()
    except UserError:
        return
    raise AssertionError("compute without samples is no UserError")
