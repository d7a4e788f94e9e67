"""Intervals and tests of counts against closed forms, references and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from morphogen.core import plugins
from morphogen.evaluation.fidelity import compare_features, figure_name, is_constant, measure
from morphogen.metrics.discrepancy import Discrepancy
from morphogen.metrics.frechet import Frechet
from morphogen.metrics.manifold import Manifold
from morphogen.metrics.statistics.intervals import (
    auc,
    auc_error,
    fisher_exact,
    halves,
    normal_interval,
    share_interval,
)
from morphogen.metrics.statistics.order import content_order

Figure = Callable[[torch.Tensor, torch.Tensor], dict[str, float]]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def means(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
    return {"mean": float(a.mean() - b.mean())}


# Halves


@pytest.mark.parametrize(("m", "n"), [(400, 300), (41, 31), (5, 2000)])
def test_halves_give_the_standard_error_of_a_mean(m: int, n: int) -> None:
    a, b = normal(m, 1), 2 * normal(n, 1, seed=1)
    truth = float((a.var() / m + b.var() / n).sqrt())
    # Of an odd number half of it is a little less: (n + 1) / (n - 1) of the variance.
    assert halves(means, a, b, draws=1000)["mean"] == pytest.approx(truth, rel=0.08 if m > 5 else 0.3)


def test_halves_estimate_the_spread_over_new_samples() -> None:
    def frechet(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
        return measure(Frechet, a, b)

    def manifold(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
        return measure(Manifold, a, b)

    def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        return normal(300, 3, seed=seed), 1.3 * normal(250, 3, seed=seed + 1)

    for figures, most in ((frechet, 1.5), (manifold, 2.2)):
        figures_of_new_draws = [figures(*draw(seed)) for seed in range(0, 160, 2)]
        errors = [halves(figures, *draw(seed), draws=30) for seed in range(200, 210, 2)]
        for key in figures_of_new_draws[0]:
            truth = np.std([one[key] for one in figures_of_new_draws])
            assert 1 / 1.3 < np.mean([one[key] for one in errors]) / truth < most, key


def test_halves_are_conservative_for_equal_distributions() -> None:
    # A distance of equal distributions is a square: its spread over halves is up to √3 times that over new items.
    def figures(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
        return measure(Frechet, a, b)

    figures_of_new_draws = [
        figures(normal(200, 4, seed=s), normal(200, 4, seed=s + 1))["frechet"] for s in range(0, 120, 2)
    ]
    errors = [halves(figures, normal(200, 4, seed=s), normal(200, 4, seed=s + 1))["frechet"] for s in (200, 300, 400)]
    assert 0.8 < np.mean(errors) / np.std(figures_of_new_draws) < 2.2


def test_halves_depend_on_the_seed_alone() -> None:
    a, b = normal(30, 2), normal(20, 2, seed=1)
    assert halves(means, a, b, seed=3) == halves(means, a, b, seed=3) != halves(means, a, b, seed=4)
    sizes: list[tuple[int, int]] = []

    def record_sizes(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
        sizes.append((len(a.unique(dim=0)), len(b.unique(dim=0))))
        return {"none": 0.0}

    assert halves(record_sizes, a, b, draws=4) == {"none": 0.0}
    assert sizes == [(15, 10)] * 4  # no item twice


# Shares


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 5000), share=st.floats(0, 1, allow_subnormal=False))
def test_the_interval_of_a_share_is_wilsons(count: int, share: float) -> None:
    hits = round(share * count)
    low, high = share_interval(hits, count)
    expected = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert 0 <= low <= hits / count <= high <= 1
    # At its ends the share is 1.96 standard errors away, of what is there.
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(hits / count - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / count), rel=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.98])
def test_the_interval_of_a_share_covers_it(share: float) -> None:
    hits = np.arange(301)
    inside = [low <= share <= high for low, high in (share_interval(int(one), 300) for one in hits)]
    assert 0.92 < stats.binom.pmf(hits, 300, share)[inside].sum() < 0.99


@settings(max_examples=100, deadline=None)
@given(data=st.data(), count=st.integers(1, 400), other=st.integers(1, 400))
def test_fishers_exact_test_is_that_of_scipy(data: st.DataObject, count: int, other: int) -> None:
    hits, other_hits = data.draw(st.integers(0, count)), data.draw(st.integers(0, other))
    table = [[hits, count - hits], [other_hits, other - other_hits]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert fisher_exact(hits, count, other_hits, other) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_normal_interval_is_that_of_95_percent() -> None:
    low, high = normal_interval(3.0, 0.5)
    assert stats.norm.cdf([low, high], 3, 0.5).tolist() == pytest.approx([0.025, 0.975], abs=1e-4)


# Areas under the curve

scores = st.lists(st.integers(-9, 9) | st.floats(-2, 2, width=32, allow_subnormal=False), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(positive=scores, negative=scores, narrow=st.booleans())
def test_the_area_is_that_of_scikit_learn(positive: list[float], negative: list[float], narrow: bool) -> None:
    kind = torch.float32 if narrow else torch.float64
    area, error = auc(torch.tensor(positive, dtype=kind), torch.tensor(negative, dtype=kind))
    assert area == pytest.approx(roc_auc_score([1] * len(positive) + [0] * len(negative), positive + negative))
    assert error == auc_error(area, len(positive), len(negative))
    mirrored, _ = auc(torch.tensor(negative, dtype=kind), torch.tensor(positive, dtype=kind))
    assert area + mirrored == pytest.approx(1)


@pytest.mark.parametrize(("positive", "negative"), [(20, 200), (200, 20)])
def test_the_error_is_that_of_the_scores_it_was_made_for(positive: int, negative: int) -> None:
    # Hanley and McNeil took scores that are exponential: (1 - a) / a is the ratio of the rates.
    area, random = 0.8, np.random.default_rng(0)
    areas = []
    for _ in range(4000):
        high = random.exponential(area / (1 - area), positive)
        low = np.sort(random.exponential(1, negative))
        areas.append(np.searchsorted(low, high).mean() / negative)
    assert np.mean(areas) == pytest.approx(area, abs=0.01)
    assert auc_error(area, positive, negative) == pytest.approx(np.std(areas), rel=0.05)
    assert auc_error(area, negative, positive) != pytest.approx(np.std(areas), rel=0.05)  # the order matters


def test_a_perfect_area_has_no_error() -> None:
    assert auc_error(1.0, 10, 20) == auc_error(0.0, 10, 20) == 0
    assert auc_error(0.5, 70, 50) == pytest.approx(math.sqrt((70 + 50 + 1) / (12 * 70 * 50)), rel=1e-9)


# Figures with their intervals


def test_figures_have_intervals_values_of_real_data_and_of_a_baseline() -> None:
    sides = {name: normal(400, 3, seed=at) for at, name in enumerate(("real", "generated", "real_data"))}
    figures, missing = compare_features({**sides, "baseline": sides["real_data"] + 3}, "grams-256", seed=0, draws=5)
    assert not missing
    for one in figures:
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
        assert one.name.endswith("[grams-256]")
        assert (one.real, one.generated) == (400, 400)
        assert one.real_data is not None
        assert one.baseline is not None
        if one.better == "lower":
            assert one.real_data < one.baseline
        elif one.better == "higher":
            assert one.real_data > one.baseline
    assert [one.key for one in figures][:2] == ["frechet", "frechet_infinity"]


def test_where_half_the_items_are_too_few_a_figure_has_no_interval() -> None:
    sides = {"real": normal(60, 3), "generated": normal(90, 3, seed=1)}
    figures, missing = compare_features(sides, "x", seed=0, draws=3)
    by_key = {one.key: one for one in figures}
    assert not missing
    assert (by_key["frechet_infinity"].low, by_key["frechet_infinity"].high) == (None, None)  # needs 50
    assert "Too few" in by_key["frechet_infinity"].meaning
    assert by_key["frechet"].low is not None
    assert by_key["frechet"].real_data is by_key["frechet"].baseline is None


def test_a_metric_that_reads_few_of_many_rows_has_the_interval_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    class Few(Discrepancy):
        def __init__(self) -> None:
            super().__init__(most=100)

    monkeypatch.setattr("morphogen.evaluation.fidelity.metrics", lambda: {"discrepancy": Few})

    def figure(seed: int, draws: int) -> tuple[float, float]:
        sides = {"real": normal(500, 4, seed=seed), "generated": 1.5 * normal(500, 4, seed=seed + 1)}
        ((one,), _) = compare_features(sides, "x", seed=0, draws=draws)
        return one.value, (one.high - one.low) / (2 * 1.96)

    truth = np.std([figure(seed, 2)[0] for seed in range(0, 300, 2)])
    error = np.mean([figure(seed, 30)[1] for seed in range(400, 420, 2)])
    assert 0.9 < error / truth < 1.6  # halves of all rows would give .7


def test_where_training_items_are_too_few_there_is_no_value_of_real_data() -> None:
    sides = {"real": normal(120, 3), "generated": normal(120, 3, seed=1), "real_data": normal(40, 3, seed=2)}
    by_key = {one.key: one for one in compare_features(sides, "x", seed=0, draws=3)[0]}
    assert by_key["frechet_infinity"].real_data is None
    assert by_key["frechet"].real_data is not None


def test_too_few_items_say_how_many_there_are() -> None:
    figures, missing = compare_features({"real": normal(4, 3), "generated": normal(9, 3, seed=1)}, "x", seed=0, draws=3)
    why = {one.name: one.reason for one in missing}
    manifold = next(reason for name, reason in why.items() if name.startswith("precision["))
    assert "at least 6 samples of each side; found 4 real, 9 generated" in manifold
    assert {one.key for one in figures} == {"frechet", "vendi_ratio"}


def test_only_published_weights_give_published_names() -> None:
    assert figure_name(Frechet.figures["frechet"], "inception-2015") == "FID"
    assert figure_name(Frechet.figures["frechet"], "classifier-0a1b2c3d") == "FD[classifier-0a1b2c3d]"
    assert figure_name(Manifold.figures["recall"], "inception-2015") == "recall[inception-2015]"


def test_an_installed_metric_is_described_as_it_describes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    point = EntryPoint("mean_gap", "custom_metric", "morphogen.metrics")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == point.group else [])
    plugins.known.cache_clear()
    try:
        sides = {"real": normal(60, 3), "generated": normal(60, 3, seed=1) + 1}
        figures, _ = compare_features(sides, "x", seed=0, draws=3)
    finally:
        plugins.known.cache_clear()
    (figure,) = [one for one in figures if one.key == "mean_gap"]
    assert figure.name == "mean gap[x]"
    assert figure.meaning.startswith("Distance between the means")
    assert (figure.group, figure.better) == ("fidelity", "lower")
    assert figure.value == pytest.approx(3**0.5, rel=0.3)
    assert figures[-1] is figure  # after the built-in ones


def test_the_content_order_does_not_depend_on_the_input_order() -> None:
    x = torch.cat([normal(50, 3), normal(3, 3)])
    other = x[torch.randperm(53, generator=torch.Generator().manual_seed(1))]
    assert torch.equal(x[content_order(x)], other[content_order(other)])
    assert torch.equal(x.float()[content_order(x.float())], other.float()[content_order(other.float())])
    assert is_constant(x[:1])
    assert is_constant(x[:0])
    assert is_constant(torch.ones(5, 3))
    assert not is_constant(x)
