"""Neighbours, copies, memorisation and membership: against brute force, by their definitions, with planted copies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from morphogen.metrics.statistics import knn as knn_module
from morphogen.metrics.statistics.copies import Copies, distance_ratios, find_copies, find_repeats
from morphogen.metrics.statistics.knn import nearest_neighbours
from morphogen.metrics.statistics.membership import attack, control_attack, distance_attack
from morphogen.metrics.statistics.memorisation import authentic, data_copying
from morphogen.metrics.statistics.modes import clusters


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(rows: int, columns: int, seed: int, values: int = 4) -> torch.Tensor:
    """Whole numbers: many rows occur twice, and many distances are equal."""
    return torch.randint(values, (rows, columns), generator=torch.Generator().manual_seed(seed)).double()


def distances_between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """All distances, by their definition."""
    return (a[:, None] - b[None]).square().sum(-1).sqrt()


def permutation(count: int, seed: int) -> torch.Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


# Neighbours


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 30),
    others=st.integers(2, 40),
    columns=st.integers(1, 6),
    k=st.integers(1, 50),
    seed=st.integers(0, 99),
    whole=st.booleans(),
    itself=st.booleans(),
)
def test_neighbours_are_those_of_brute_force(
    rows: int, others: int, columns: int, k: int, seed: int, whole: bool, itself: bool
) -> None:
    make = grid if whole else lambda n, d, seed: normal(n, d, seed=seed) + 100
    points = make(others, columns, seed=seed)
    own_index = torch.randint(others, (rows,), generator=torch.Generator().manual_seed(seed)) if itself else None
    x = points[own_index] if own_index is not None else make(rows, columns, seed=seed + 1)
    distances = distances_between(x, points)
    if own_index is not None:
        distances[torch.arange(rows), own_index] = math.inf
    neighbours = nearest_neighbours(x, points, k, own_index=own_index)
    count = min(k, others - itself)
    assert neighbours.distances.shape == neighbours.indices.shape == (rows, count)
    assert torch.allclose(neighbours.distances, distances.sort(dim=1).values[:, :count], atol=1e-9)
    assert torch.allclose(neighbours.distances, distances.gather(1, neighbours.indices), atol=1e-9)
    assert all(len(set(row)) == count for row in neighbours.indices.tolist())
    assert own_index is None or not (neighbours.indices == own_index[:, None]).any()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, points, itself = normal(53, 5), normal(53, 5), torch.arange(53)
    at_once = nearest_neighbours(x, points, 7, own_index=itself)
    for name, value in (("_QUERIES", 10), ("_EXACT", 3), ("_PAIRS", 400)):
        monkeypatch.setattr(knn_module, name, value)
        in_blocks = nearest_neighbours(x, points, 7, own_index=itself)
        assert torch.equal(in_blocks.indices, at_once.indices)
        assert torch.equal(in_blocks.distances, at_once.distances)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_the_distance_of_a_copy_is_exactly_zero(kind: torch.dtype, shift: float) -> None:
    points = (normal(400, 16) + shift).to(kind)
    source = permutation(400, 1)[:90]
    neighbours = nearest_neighbours(points[source].clone(), points, 3)
    assert (neighbours.distances[:, 0] == 0).all()
    assert torch.equal(neighbours.indices[:, 0], source)
    assert (neighbours.distances[:, 1] > 0).all()
    twice = torch.cat([points, points])
    assert (nearest_neighbours(twice, twice, 1, own_index=torch.arange(800)).distances == 0).all()


def test_distances_that_are_equal_are_ties() -> None:
    # One-hot rows: whatever is subtracted from both, √2 must not come out as several numbers.
    corners = torch.eye(7, dtype=torch.float64) + 0.1 * torch.ones(7)
    neighbours = nearest_neighbours(corners, torch.cat([corners, corners[:3]]), 4, own_index=torch.arange(7))
    assert len(neighbours.distances[neighbours.distances > 0].unique()) == 1


def test_no_items_have_no_neighbours() -> None:
    assert nearest_neighbours(torch.empty(0, 3), normal(5, 3), 2).indices.shape == (0, 2)


# Copies


def test_planted_copies_are_found_with_what_they_are_copies_of() -> None:
    train, real, items = normal(1500, 12), normal(300, 12, seed=1), normal(400, 12, seed=2)
    source, place = permutation(1500, 3)[:12], permutation(400, 4)[:12]
    items[place] = train[source] + 0.02 * normal(12, 12, seed=5)
    copies = find_copies(items, train, real)
    assert copies.detected
    assert copies.hits == 12
    assert set(copies.closest(12)) == set(place.tolist())
    assert torch.equal(copies.indices[place], source)
    assert copies.share == 12 / 400
    assert copies.interval[0] < copies.share < copies.interval[1]
    assert copies.reference_share < 0.003
    assert copies.p_value < 1e-6
    assert (copies.count, copies.reference_count) == (400, 1800)


def test_copies_are_found_in_dense_and_in_sparse_regions() -> None:
    def crowds(count: int, seed: int) -> torch.Tensor:
        scale = torch.where(normal(count, seed=seed + 1000) > 0, 1.0, 0.01)[:, None]
        return normal(count, 6, seed=seed) * scale + (scale < 1) * 20

    train, items = crowds(1500, 0), crowds(400, 2)
    items[:8] = train[:8] * (1 + 1e-5)
    copies = find_copies(items, train, crowds(300, 1))
    assert copies.detected
    assert set(range(8)) <= set(copies.closest(copies.hits))
    assert copies.hits < 12


def test_exact_copies_have_the_ratio_zero() -> None:
    train = normal(200, 5)
    ratio, index = distance_ratios(train[40:60], train)
    assert ratio.tolist() == [0] * 20
    assert index.tolist() == list(range(40, 60))
    expected = distances_between(normal(9, 5, seed=1), train).sort(dim=1).values[:, :50]
    ratio, _ = distance_ratios(normal(9, 5, seed=1), train)
    assert torch.allclose(ratio, expected[:, 0] / expected.mean(1))
    assert distance_ratios(train[:3], train[:1].expand(30, 5))[0][0] == 0


@pytest.mark.parametrize("count", [2, 3, 60])
def test_items_that_are_all_equal_are_no_fault(count: int) -> None:
    alike = torch.ones(count, 4)
    assert not find_copies(alike, alike, alike).detected
    assert not find_repeats(alike, alike).detected
    assert find_repeats(alike, alike).share == find_repeats(alike, alike).reference_share == 1


@pytest.mark.parametrize("twins", [False, True])
def test_false_alarms_on_fresh_items_are_rare(twins: bool) -> None:
    def draw(count: int, seed: int) -> torch.Tensor:
        return grid(count, 2, seed, values=19) if twins else normal(count, 6, seed=seed)

    alarms = np.zeros(2)
    for seed in range(0, 300, 3):
        train, real, items = draw(400, seed), draw(150, seed + 1), draw(200, seed + 2)
        results = [find_copies(items, train, real), find_repeats(items, torch.cat([real, train]))]
        if twins:
            assert min(one.share for one in results) > 0.3  # natural duplicates
        alarms += [one.detected for one in results]
    assert alarms.max() <= 5  # of 100, at one in a hundred each


def test_copies_among_natural_twins_are_found_all_the_same() -> None:
    train, real, items = (grid(n, 2, seed, values=60) for n, seed in ((1500, 0), (400, 1), (500, 2)))
    assert not find_copies(items, train, real).detected
    items[:150] = train[:150]
    assert find_copies(items, train, real).detected


def test_copies_do_not_depend_on_the_order() -> None:
    train, real, items = normal(300, 6), normal(100, 6, seed=1), normal(120, 6, seed=2)
    items[:9] = train[:9] + 0.01
    one = find_copies(items, train, real)
    orders = [permutation(len(x), 7) for x in (items, train, real)]
    other = find_copies(items[orders[0]], train[orders[1]], real[orders[2]])
    assert (one.hits, one.reference_hits) == (other.hits, other.reference_hits)
    assert torch.allclose(one.ratios[orders[0]], other.ratios)
    assert torch.equal(one.indices[orders[0]], orders[1][other.indices])


def test_single_precision_finds_the_same() -> None:
    train, items = normal(300, 6), normal(120, 6, seed=2)
    items[:9] = train[:9] + 0.01
    wide, narrow = find_copies(items, train), find_copies(items.float(), train.float())
    assert torch.equal(wide.indices, narrow.indices)
    assert torch.allclose(wide.ratios, narrow.ratios, atol=1e-5)


def test_repeats_are_found_with_their_twin() -> None:
    real, items = normal(400, 8), normal(300, 8, seed=1)
    assert not find_repeats(items, real).detected
    items[200:230] = items[:30] + 1e-3 * normal(30, 8, seed=2)
    repeats = find_repeats(items, real)
    assert repeats.detected
    assert repeats.hits == 60
    assert repeats.indices[:30].tolist() == list(range(200, 230))
    assert repeats.indices[200:230].tolist() == list(range(30))
    assert repeats.reference_count == 300  # cut to as many


def test_exact_copies_are_copies_where_real_items_are_twins_too() -> None:
    train, items = normal(2000, 8), normal(500, 8, seed=1)
    train[:40] = train[40:80]
    items[:100] = train[1000:1100] + 1e-8 * normal(100, 8, seed=2)
    copies = find_copies(items, train)
    assert (copies.hits, copies.exact, copies.reference_hits, copies.reference_exact) == (100, 100, 80, 80)
    assert copies.detected


def test_few_copies_are_chance() -> None:
    def copies_of(hits: int) -> Copies:
        return Copies(hits, 10, 0, 10_000, 0, 0, torch.empty(0), torch.empty(0))

    assert not copies_of(2).detected  # whatever the probability
    assert copies_of(3).detected
    assert not Copies(3, 1000, 3, 1000, 3, 3, torch.empty(0), torch.empty(0)).detected
    # Where many real items are nearly copies, exact ones tell.
    assert Copies(23, 1000, 20, 1000, 12, 0, torch.empty(0), torch.empty(0)).detected
    assert not Copies(23, 1000, 20, 1000, 2, 2, torch.empty(0), torch.empty(0)).detected


# Memorisation


@pytest.mark.parametrize("ties", [False, True])
def test_with_one_cell_it_is_the_test_of_mann_and_whitney(ties: bool) -> None:
    make = (lambda n, seed: grid(n, 3, seed)) if ties else (lambda n, seed: normal(n, 3, seed=seed))
    train, held_out, generated = make(200, 0), make(90, 1), make(130, 2) * (1 if ties else 1.2)
    distances = [distances_between(x, train).min(1).values.numpy() for x in (generated, held_out)]
    if ties:
        assert len(np.unique(np.concatenate(distances))) < 20
    reference = stats.mannwhitneyu(*distances, alternative="less", method="asymptotic", use_continuity=False)
    z = data_copying(generated, held_out, train, cells=1)
    assert z == pytest.approx(stats.norm.ppf(reference.pvalue), abs=1e-6)


def test_cells_are_weighted_by_their_held_out_items() -> None:
    train, held_out, generated = normal(600, 2), normal(300, 2, seed=1), 1.3 * normal(250, 2, seed=2)
    centres = clusters(train, 3, 0)
    cells = [distances_between(x, centres).argmin(1).numpy() for x in (generated, held_out)]
    distances = [distances_between(x, train).min(1).values.numpy() for x in (generated, held_out)]
    terms = []
    for cell in range(3):
        a, b = (distance[of == cell] for distance, of in zip(distances, cells, strict=True))
        reference = stats.mannwhitneyu(a, b, alternative="less", method="asymptotic", use_continuity=False)
        terms.append((len(b), stats.norm.ppf(reference.pvalue)))
    expected = sum(n * z for n, z in terms) / math.sqrt(sum(n * n for n, _ in terms))
    assert data_copying(generated, held_out, train, cells=3) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("cells", [1, 5])
def test_of_fresh_items_it_is_standard_normal(cells: int) -> None:
    values = []
    for seed in range(0, 240, 3):
        train, held_out, generated = (normal(n, 4, seed=seed + at) for at, n in enumerate((400, 250, 250)))
        values.append(data_copying(generated, held_out, train, cells=cells))
    assert abs(np.mean(values)) < 4 / math.sqrt(80)
    assert 0.75 < np.std(values) < 1.3


def test_noisy_copies_are_far_below_zero_and_bad_items_far_above() -> None:
    train, held_out = normal(500, 6), normal(200, 6, seed=1)
    assert data_copying(train[:300] + 0.05 * normal(300, 6, seed=2), held_out, train) < -10
    assert data_copying(2 * normal(300, 6, seed=2), held_out, train) > 10
    assert data_copying(train[:300], held_out, train) < -10  # all distances are 0


def test_where_no_cell_holds_enough_items_it_is_nan() -> None:
    train = normal(100, 3)
    assert math.isnan(data_copying(normal(19, 3, seed=1), normal(50, 3, seed=2), train))
    assert math.isnan(data_copying(normal(50, 3, seed=1), normal(19, 3, seed=2), train))
    assert data_copying(torch.ones(20, 3), torch.ones(20, 3), torch.ones(20, 3)) == 0


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), others=st.integers(2, 40), seed=st.integers(0, 99))
def test_authentic_items_are_those_of_the_definition(rows: int, others: int, seed: int) -> None:
    items, train = normal(rows, 3, seed=seed), normal(others, 3, seed=seed + 1)
    items[::4] = train[0]
    train_distances = distances_between(train, train).fill_diagonal_(math.inf).min(1).values
    distances = distances_between(items, train)
    expected = distances.min(1).values > train_distances[distances.argmin(1)]
    assert torch.equal(authentic(items, train), expected)
    assert not authentic(items, train)[::4].any()


def test_copies_are_not_authentic_and_distant_items_are() -> None:
    train = normal(100, 4)
    assert not authentic(train, train).any()
    assert authentic(train + 100, train).all()
    twice = torch.cat([train, train])
    assert not authentic(train, twice).any()
    assert authentic(train + 1e-6, twice).all()  # nothing is nearer than a twin


# Membership


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    others=st.lists(st.integers(0, 12), min_size=100, max_size=320),
)
def test_the_attack_is_its_definition(members: list[int], others: list[int]) -> None:
    result = attack(torch.tensor(members), torch.tensor(others))
    truth, scores = [1] * len(members) + [0] * len(others), members + others
    assert result.area == pytest.approx(roc_auc_score(truth, scores))
    a, b = np.array(members), np.array(others)
    # Of all thresholds that let no more than 1 % of the others pass, the one that finds most.
    expected = max((a >= t).mean() for t in [*set(scores), 99] if (b >= t).sum() * 100 <= len(b))
    assert result.sensitivity == pytest.approx(expected)
    assert 0 <= result.interval[0] <= result.area <= result.interval[1] <= 1
    assert (result.members, result.non_members) == (len(members), len(others))


def test_with_few_non_members_there_is_no_sensitivity() -> None:
    assert attack(normal(50), normal(99, seed=1)).sensitivity is None
    assert attack(normal(50) + 9, normal(100, seed=1)).sensitivity == 1


def test_the_interval_covers_guessing() -> None:
    attacks = [attack(normal(80, seed=seed), normal(120, seed=seed + 1)) for seed in range(0, 1200, 2)]
    coverage = np.mean([one.interval[0] <= 0.5 <= one.interval[1] for one in attacks])
    assert 0.92 <= coverage <= 0.98
    assert np.mean([one.sensitivity for one in attacks]) == pytest.approx(2 / 121, abs=0.006)


def test_members_are_revealed_by_a_generator_that_copies_and_by_no_other() -> None:
    members, others = normal(300, 6), normal(200, 6, seed=1)
    leaky = distance_attack(members, others, members[:200] + 0.1 * normal(200, 6, seed=2))
    assert leaky.area > 0.8
    assert leaky.sensitivity is not None
    assert leaky.sensitivity > 0.5
    innocent = distance_attack(members, others, normal(300, 6, seed=3))
    assert innocent.interval[0] < 0.5 < innocent.interval[1]


def test_the_control_measures_members_that_differ_by_themselves() -> None:
    members, held_out = normal(300, 6), normal(200, 6, seed=1)
    plain = control_attack(members, held_out)
    assert plain.interval[0] < 0.5 < plain.interval[1]
    assert (plain.members, plain.non_members) == (300, 100)
    assert control_attack(2 * members, held_out).area < 0.3  # members lie further out
