"""Metrics against closed forms, direct definitions and a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg, stats

from morphogen.core.errors import UserError
from morphogen.metrics import discrepancy, frechet, kernel
from morphogen.metrics._pairs import compute_together, share_features
from morphogen.metrics._reservoir import Reservoir
from morphogen.metrics.base import Metric
from morphogen.metrics.discrepancy import Discrepancy
from morphogen.metrics.frechet import Frechet, Moments, distance
from morphogen.metrics.frechet_infinity import FrechetInfinity
from morphogen.metrics.kernel import Kernel
from morphogen.metrics.manifold import Manifold
from morphogen.metrics.vendi import Vendi


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def judge(metric: Metric, real: torch.Tensor, generated: torch.Tensor) -> dict[str, float]:
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return metric.compute()


def moments(mean: torch.Tensor, covariance: torch.Tensor) -> Moments:
    return Moments(11, mean, covariance * 10)


def test_frechet_of_diagonal_gaussians_is_the_closed_form() -> None:
    mean, a, b = normal(5), normal(5, seed=1).exp(), normal(5, seed=2).exp()
    expected = mean.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    zero = torch.zeros(5, dtype=torch.float64)
    assert distance(moments(zero, a.diag()), moments(mean, b.diag())) == pytest.approx(float(expected), rel=1e-12)


def test_frechet_of_equal_sets_is_zero_and_a_shift_adds_its_square() -> None:
    x, shift = normal(500, 16), normal(16, seed=1)
    assert judge(Frechet(), x, x)["frechet"] < 1e-9
    assert judge(Frechet(), x, x + shift)["frechet"] == pytest.approx(float(shift.square().sum()), rel=1e-9)


def test_frechet_far_from_the_origin_loses_nothing() -> None:
    x, y = normal(500, 16), 1.5 * normal(400, 16, seed=1)
    near, far = judge(Frechet(), x, y), judge(Frechet(), x + 1e5, y + 1e5)
    assert far["frechet"] == pytest.approx(near["frechet"], rel=1e-6)


def test_frechet_agrees_with_the_matrix_square_root() -> None:
    x, y = normal(800, 24) @ normal(24, 24, seed=1), normal(600, 24, seed=2) @ normal(24, 24, seed=3) + 0.3
    a, b = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    root = linalg.sqrtm(a @ b).real
    expected = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(a + b - 2 * root)
    assert judge(Frechet(), x, y)["frechet"] == pytest.approx(expected, rel=1e-6)


def test_frechet_is_exact_with_fewer_samples_than_dimensions() -> None:
    x, y = normal(20, 64), normal(30, 64, seed=1)
    a, b = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y))
    # The Gram trick: tr (Σ₁Σ₂)^½ is the nuclear norm of the centred X₁X₂ᵀ.
    cross = torch.linalg.svdvals(a @ b.T).sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * cross
    assert judge(Frechet(), x, y)["frechet"] == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("decades", [0, 2, 6, 12])
def test_frechet_is_exact_however_unequal_the_spreads(decades: int) -> None:
    """Where the quick way would lose the small ones, the other is taken."""
    spreads = torch.logspace(0, -decades, 32, dtype=torch.float64).square()
    rotation, _ = torch.linalg.qr(normal(32, 32))
    zero = torch.zeros(32, dtype=torch.float64)
    a, b = (rotation @ (scale * spreads).diag() @ rotation.T for scale in (1.0, 1.21))
    assert distance(moments(zero, a), moments(zero, b)) == pytest.approx(0.01 * float(spreads.sum()), rel=1e-9)


def test_frechet_of_a_side_without_spread() -> None:
    x, still = normal(400, 6), torch.full((9, 6), 0.5, dtype=torch.float64)
    expected = float((x.mean(0) - 0.5).square().sum() + x.var(0).sum())
    for sides in ((x, still), (still, x)):
        assert judge(Frechet(), *sides)["frechet"] == pytest.approx(expected, rel=1e-9)
    assert judge(Frechet(), still, still)["frechet"] == 0


def test_frechet_does_not_depend_on_the_order_of_batches() -> None:
    x, y = normal(1000, 12) + 100, normal(1000, 12, seed=1) + 101
    whole, pieces = judge(Frechet(), x, y), Frechet()
    for index in torch.randperm(1000, generator=torch.Generator().manual_seed(2)).split(37):
        pieces.update(x[index].numpy(), real=True)
        pieces.update(y[index].numpy(), real=False)
    assert pieces.compute()["frechet"] == pytest.approx(whole["frechet"], rel=1e-9)


def test_the_interval_holds_the_figure_and_what_new_draws_give() -> None:
    x, y = normal(600, 4), 1.3 * normal(600, 4, seed=1)
    low, high = frechet.interval(x, y, resamples=100)
    assert low < judge(Frechet(), x, y)["frechet"] < high
    assert (low, high) == frechet.interval(x, y, resamples=100)
    draws = [
        judge(Frechet(), normal(600, 4, seed=s), 1.3 * normal(600, 4, seed=s + 1))["frechet"] for s in range(2, 80, 2)
    ]
    spread = 2 * 1.96 * float(np.std(draws))
    assert spread / 2 < high - low < 2 * spread


def dense(real: torch.Tensor, generated: torch.Tensor, k: int) -> dict[str, float]:
    """The definitions, word for word, on full matrices of directly computed distances."""

    def pairwise_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a[:, None] - b[None]).square().sum(-1).sqrt()

    def radius(a: torch.Tensor) -> torch.Tensor:
        return pairwise_distances(a, a).sort(dim=1).values[:, k]  # column 0 is the item itself

    distances = pairwise_distances(real, generated)
    inside = distances <= radius(real)[:, None]
    return {
        "precision": float(inside.any(0).double().mean()),
        "recall": float((distances <= radius(generated)[None]).any(1).double().mean()),
        "density": float(inside.double().sum(0).mean() / k),
        "coverage": float((distances.min(1).values <= radius(real)).double().mean()),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_manifold_is_its_definition(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morphogen.metrics._pairs._TILE", 64)  # several blocks, the last one short
    real, generated = normal(300, 4), 0.7 * normal(217, 4, seed=1) + 0.5
    assert judge(Manifold(k=k), real, generated) == pytest.approx(dense(real, generated, k), abs=1e-12)


def test_precision_and_recall_point_the_right_way() -> None:
    modes = torch.cat([normal(200, 4), normal(200, 4, seed=1) + 50])
    one_mode = judge(Manifold(), modes, modes[:200])
    assert one_mode["precision"] == 1
    assert one_mode["recall"] == pytest.approx(0.5, abs=0.01)
    assert one_mode["coverage"] == pytest.approx(0.5, abs=0.01)
    stray = judge(Manifold(), modes, torch.cat([modes, normal(400, 4, seed=2) - 50]))
    assert stray["precision"] == pytest.approx(0.5, abs=0.01)
    assert stray["recall"] == 1


def test_copies_of_one_item_do_not_confuse_the_balls() -> None:
    copies = normal(1, 32).expand(50, 32) + 1000
    figures = judge(Manifold(), copies, copies[:20])
    assert figures["precision"] == figures["recall"] == figures["coverage"] == 1


def test_figures_grow_worse_with_noise() -> None:
    real, noise = normal(500, 8), normal(500, 8, seed=1)
    distances = [judge(Frechet(), real, real + s * noise)["frechet"] for s in (0.1, 0.3, 1.0, 3.0)]
    coverages = [judge(Manifold(), real, real + s * noise)["coverage"] for s in (0.1, 0.3, 1.0, 3.0)]
    assert distances == sorted(distances)
    assert coverages == sorted(coverages, reverse=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_feature_that_is_not_finite_is_refused_by_its_position(bad: float) -> None:
    x = normal(5, 3)
    x[3, 1] = bad
    with pytest.raises(UserError, match="feature vector 3"):
        Frechet().update(x, real=True)


def test_too_few_samples_say_how_many_are_needed() -> None:
    with pytest.raises(UserError, match="at least 6 samples of each side; found 5 real, 9 generated"):
        judge(Manifold(), normal(5, 3), normal(9, 3))
    with pytest.raises(UserError, match="at least 2"):
        judge(Frechet(), normal(1, 3), normal(9, 3))


def test_another_width_is_refused() -> None:
    metric = Frechet()
    metric.update(normal(5, 3), real=True)
    with pytest.raises(UserError, match="4 dimensions; expected 3"):
        metric.update(normal(5, 4), real=False)


def cubic(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def unbiased(x: torch.Tensor, y: torch.Tensor, values: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
    """The definition: means over pairs of different items of each side, less twice that over pairs of both."""
    within = [(values(z, z).sum() - values(z, z).trace()) / (len(z) * (len(z) - 1)) for z in (x, y)]
    return float(within[0] + within[1] - 2 * values(x, y).mean())


def test_kernel_is_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(150, 4) + 3, normal(130, 4, seed=1) + 3.2
    monkeypatch.setattr("morphogen.metrics._pairs._TILE", 64)
    assert judge(Kernel(), x[:130], y)["kernel"] == pytest.approx(unbiased(x[:130], y, cubic), rel=1e-10)
    indices = [
        (normal(150, seed=s).argsort()[:40].tolist(), normal(130, seed=s).argsort()[:50].tolist()) for s in (1, 2)
    ]
    expected = [unbiased(x[a], y[b], cubic) for a, b in indices]
    assert kernel.on_subsets(x, y, indices).tolist() == pytest.approx(expected, rel=1e-10)


def test_kernel_is_unbiased_whatever_the_number_of_samples() -> None:
    small = [judge(Kernel(), normal(60, 4, seed=s), normal(60, 4, seed=s + 1))["kernel"] for s in range(0, 200, 2)]
    assert abs(float(np.mean(small))) < 3 * float(np.std(small)) / 10


def test_pairs_are_read_together_as_apart() -> None:
    x, y = normal(300, 8), 1.2 * normal(250, 8, seed=1)
    pair = [Kernel(size=100, subsets=7), Manifold()]
    for metric in pair:
        metric.update(x, real=True)
        metric.update(y, real=False)
    separate = {**judge(Kernel(size=100, subsets=7), x, y), **judge(Manifold(), x, y)}
    assert compute_together(pair) == separate
    shared = share_features(Kernel(size=100, subsets=7), Manifold())
    shared[0].update(x, real=True)
    shared[0].update(y, real=False)
    assert compute_together(shared) == separate


def test_frechet_at_infinity_of_equal_distributions_is_near_zero_where_the_plain_one_is_not() -> None:
    x, y = normal(2000, 24), normal(2000, 24, seed=1)
    assert judge(Frechet(), x, y)["frechet"] > 0.15
    assert abs(judge(FrechetInfinity(), x, y)["frechet_infinity"]) < 0.03
    shifted = judge(FrechetInfinity(), x, y + 1)["frechet_infinity"]
    assert shifted == pytest.approx(24, rel=0.05)


def test_vendi_counts_what_there_is() -> None:
    corners = torch.eye(8, dtype=torch.float64).repeat(25, 1)
    assert judge(Vendi(), corners, corners[torch.arange(200) % 2 == 0])["vendi_ratio"] == pytest.approx(0.5)
    vendi = Vendi()
    vendi.update(corners, real=True)
    assert vendi.score(True) == pytest.approx(8)
    cosines = torch.nn.functional.normalize(normal(30, 50))
    values = torch.linalg.eigvalsh(cosines @ cosines.T / 30).clamp(min=0)
    vendi = Vendi()
    vendi.update(normal(30, 50), real=True)
    assert vendi.score(True) == pytest.approx(float(torch.special.entr(values).sum().exp()), rel=1e-9)


def test_discrepancy_is_its_definition_and_its_p_value_is_honest() -> None:
    x, y = normal(80, 3), normal(60, 3, seed=1) + 0.5
    both = torch.cat([x, y])
    median = torch.cdist(both, both).square()[tuple(torch.triu_indices(140, 140, 1))].median()
    expected = unbiased(x, y, lambda a, b: (-torch.cdist(a, b).square() / median).exp())
    assert judge(Discrepancy(), x, y)["discrepancy"] == pytest.approx(expected, rel=1e-9)
    assert discrepancy.p_value(x, y, permutations=499) == 1 / 500
    chance = [
        discrepancy.p_value(normal(40, 3, seed=s), normal(40, 3, seed=s + 1), permutations=199)
        for s in range(0, 120, 2)
    ]
    assert stats.kstest(chance, "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", [Kernel, Manifold, Discrepancy, FrechetInfinity])
def test_sampled_features_do_not_depend_on_order_or_process(kind: Any) -> None:
    x, y = normal(900, 5), 1.1 * normal(900, 5, seed=1)
    whole = judge(kind(most=200), x, y)
    parts = [kind(most=200) for _ in range(3)]
    for number, index in enumerate(normal(900, seed=3).argsort().split(101)):
        parts[number % 3].update(x[index], real=True)
        parts[number % 3].update(y[index], real=False)
    parts[1].merge(parts[2])
    parts[1].merge(parts[0])
    assert parts[1].compute() == pytest.approx(whole, rel=1e-12)


def test_a_reservoir_is_a_uniform_sample() -> None:
    reservoir = Reservoir(500)
    x = torch.arange(20_000, dtype=torch.float64)[:, None]
    for part in x.split(333):
        reservoir.add(part)
    sample = reservoir.get()
    assert len(sample) == 500
    assert stats.kstest(sample.flatten().numpy() / 20_000, "uniform").pvalue > 0.01
