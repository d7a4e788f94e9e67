"""The relative Fréchet distance: its interval, against distributions whose distance is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from morphogen.core.judge import Comparison, Sample
from morphogen.core.results import Figure, Results
from morphogen.evaluation.relative import Sides, jackknife, ratio_interval, relative_distance, whitened


def shifted(count: int, by: float, seed: int) -> torch.Tensor:
    return torch.randn(count, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + by


def sides_of(count: int, by: float, seed: int) -> Sides:
    numbers = range(4 * seed, 4 * seed + 4)
    return Sides(*(shifted(count, one, number) for one, number in zip((0, by, 0, 1), numbers, strict=True)))


@pytest.mark.parametrize(("count", "by"), [(30, 0.0), (30, 0.5), (200, 0.5), (200, 0.0)])
def test_the_interval_covers_the_true_relative_distance(count: int, by: float) -> None:
    """The distance between Gaussians that differ by their means is the square of that difference."""
    intervals = []
    for seed in range(20):
        sides = sides_of(count, by, seed)
        intervals.append(ratio_interval(*sides.gaps(), *jackknife(sides, 20, seed)))
    covered = [one is None or one[0] <= by**2 <= one[1] for one in intervals]
    assert sum(covered) >= 17
    widths = [one[1] - one[0] for one in intervals if one]
    assert len(widths) == 20
    assert np.mean(widths) < (1.0 if count == 30 else 0.35)


def test_whitened_features_have_unit_variance_except_where_there_is_none() -> None:
    x = shifted(2000, 0.0, 1) * torch.tensor([100.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 0.0])
    variances = whitened(Sides(x, x + 5, x, x)).generated.var(0).sort().values
    ridge = 0.01 * (100**2 + 6 * 10**2) / 8
    assert variances[1:] == pytest.approx([*[100 / (100 + ridge)] * 6, 1.0], rel=0.1)
    assert variances[0] < 1e-3


def test_a_ratio_of_a_known_denominator_has_the_interval_of_its_numerator() -> None:
    interval = ratio_interval(1.0, 2.0, np.diag([0.01, 0.0]), 10**6)
    assert interval == pytest.approx((0.5 - 1.96 * 0.05, 0.5 + 1.96 * 0.05), abs=1e-4)
    assert ratio_interval(0.1, 0.1, np.diag([0.01, 0.01]), 19) is None
    interval = ratio_interval(10.0, 0.1, np.diag([0.01, 0.01]), 19)
    assert interval is not None
    assert interval[0] > 10
    assert interval[1] == np.inf


def measured(count: int, by: float, damage: float, seed: int = 0) -> tuple[Figure | None, Results]:
    """Return the relative distance of Gaussians, generated ones shifted by `by` and damaged ones by `damage`."""

    def sample(number: int, shift: float) -> Sample[Any]:
        return Sample([], shifted(count, shift, 10 * seed + number))

    results, training = Results(), sample(1, 0)
    codec: Any = None
    extractor: Any = SimpleNamespace(name="raw")
    comparison = Comparison(
        codec=codec,
        extractor=extractor,
        seed=0,
        real=sample(2, 0),
        generated=sample(3, by),
        train=training,
        train_matched=training,
        degraded=sample(4, damage),
    )
    relative_distance(comparison, results)
    return next(iter(results.figures), None), results


def test_half_of_the_way_is_a_quarter_of_the_distance() -> None:
    figure, _ = measured(1000, 0.5, 1.0)
    assert figure is not None
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= 0.25 <= figure.high
    assert figure.high - figure.low < 0.15


def test_new_real_items_are_near_zero() -> None:
    for seed in range(5):
        figure, _ = measured(300, 0.0, 1.0, seed)
        assert figure is not None
        assert figure.low == 0
        assert figure.value < 0.1


def test_damage_that_does_not_show_is_no_scale() -> None:
    """With many items there is no distance then; with few, mostly an interval from close to far, or none."""
    figure, results = measured(500, 0.0, 0.0)
    assert figure is None
    assert "no further" in results.not_measured[0].reason
    few = [measured(12, 0.0, 0.1, seed)[0] for seed in range(10)]
    assert sum(one is None or one.high is None or one.high > 0.5 for one in few) >= 8
