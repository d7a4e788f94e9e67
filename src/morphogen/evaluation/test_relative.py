"""The relative Fréchet distance: its interval, against distributions whose distance is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from morphogen.core.judge import Comparison, Sample
from morphogen.core.results import Figure, Results
from morphogen.evaluation.relative import (
    Sides,
    jackknife,
    not_negative,
    ratio_interval,
    relative_distance,
    whitened,
)


def shifted(count: int, by: float, seed: int, width: int = 8) -> torch.Tensor:
    return torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + by


def sides_of(count: int, by: float, seed: int, width: int = 8, spread: float = 1.0) -> Sides:
    """Return Gaussians: generated ones shifted by `by`, `spread` times as wide; damaged ones by 1 in 8 dimensions."""
    numbers, scale = range(4 * seed, 4 * seed + 4), (8 / width) ** 0.5
    real, made, other, damaged = (shifted(count, 0, number, width) for number in numbers)
    return Sides(real, made * spread + by * scale, other, damaged + scale)


def intervals_of(count: int, by: float, width: int, spread: float, *, others: bool) -> list[tuple[float, float] | None]:
    intervals = []
    for seed in range(10 if count * width > 5000 else 20):
        rest = shifted(3 * width, 0, 10_000 + seed, width) if others else None
        intervals.append(ratio_interval(*jackknife(whitened(sides_of(count, by, seed, width, spread), rest), 10, seed)))
    return intervals


@pytest.mark.parametrize(
    ("count", "width", "by", "spread"),
    [
        (30, 8, 0.0, 1.0),
        (30, 8, 0.5, 1.0),
        (200, 8, 0.5, 1.0),
        (200, 8, 0.0, 1.0),
        (30, 128, 0.0, 1.0),
        (30, 128, 0.5, 1.0),
        (60, 64, 0.5, 1.0),
        (60, 64, 0.5, 0.8),  # less varied, as the features of long texts are
        (100, 128, 0.5, 1.0),
    ],
)
@pytest.mark.parametrize("others", [False, True])
def test_the_interval_covers_the_true_relative_distance(
    count: int, width: int, by: float, spread: float, others: bool
) -> None:
    """The Fréchet distance of such Gaussians is the square of the shift, and of the difference in width."""
    intervals = intervals_of(count, by, width, spread, others=others)
    truth = (8 * by**2 + width * (1 - spread) ** 2) / 8
    ends = [(0.0, np.inf) if one is None else not_negative(one) for one in intervals]
    assert np.mean([low <= truth <= high for low, high in ends]) >= 0.8
    assert all(high > 0 for _, high in ends)
    if width == 8:
        widths = [one[1] - one[0] for one in intervals if one]
        assert len(widths) == len(intervals)
        assert np.mean(widths) < (1.0 if count == 30 else 0.35)


def test_an_interval_below_zero_does_not_become_a_point() -> None:
    assert not_negative((0.1, 0.4)) == (0.1, 0.4)
    assert not_negative((-0.3, 0.2)) == (0.0, 0.2)
    assert not_negative((-0.9, -0.1)) == pytest.approx((0.0, 0.1))


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


def measured(count: int, by: float, damage: float, seed: int = 0, longer: float = 0.0) -> tuple[Figure | None, Results]:
    """Return the relative distance of Gaussians, generated ones shifted by `by` and damaged ones by `damage`.

    Items are their lengths, which features do not show; those of generated ones are greater by `longer`.
    """

    def sample(number: int, shift: float, longer: float = 0.0) -> Sample[Any]:
        lengths = np.random.default_rng(10 * seed + number).normal(longer, 1, count)
        return Sample(lengths, shifted(count, shift, 10 * seed + number))

    results, training = Results(), sample(1, 0)
    codec: Any = None
    extractor: Any = SimpleNamespace(name="raw")
    comparison = Comparison(
        codec=codec,
        extractor=extractor,
        seed=0,
        real=sample(2, 0),
        generated=sample(3, by, longer),
        train=training,
        train_matched=training,
        degraded=sample(4, damage),
    )
    judge: Any = SimpleNamespace(properties=lambda items, passages: {"length": items})
    modality: Any = None  # of the unseen training items, none here
    relative_distance(comparison, judge, modality, results)
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


def test_a_property_that_features_do_not_show_counts() -> None:
    same, longer = measured(300, 0.0, 1.0)[0], measured(300, 0.0, 1.0, longer=2.0)[0]
    assert same is not None
    assert longer is not None
    assert longer.low is not None
    assert same.high is not None
    assert longer.low > same.high


def test_damage_that_does_not_show_is_no_scale() -> None:
    """With many items there is no distance then; with few, mostly an interval from close to far, or none."""
    figure, results = measured(500, 0.0, 0.0)
    assert figure is None
    assert "no further" in results.not_measured[0].reason
    few = [measured(12, 0.0, 0.1, seed)[0] for seed in range(10)]
    assert sum(one is None or one.high is None or one.high > 0.5 for one in few) >= 8
