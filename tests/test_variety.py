"""Modes, the Inception Score, MS-SSIM and passages: closed forms, direct definitions, planted losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats
from scipy.spatial.distance import jensenshannon

from morphogen.core.errors import UserError
from morphogen.metrics.statistics.inception_score import inception_score
from morphogen.metrics.statistics.modes import clusters, compare_counts, compare_modes
from morphogen.metrics.statistics.ms_ssim import mean_similarity, ms_ssim
from morphogen.modalities.image.features import planes
from morphogen.modalities.text.statistics.passages import passage_length, passages


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Modes


def islands(count: int, seed: int, indices: Sequence[int] = range(10)) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Items of ten islands, and of which each is; the first is as frequent as all others together."""
    random = np.random.default_rng(seed)
    weights = np.array([9, *[1] * 9], dtype=np.float64)[list(indices)]
    island = random.choice(indices, count, p=weights / weights.sum())
    return torch.from_numpy(20 * np.eye(10)[island] + random.normal(size=(count, 10))), island


@pytest.mark.parametrize("dropped", [1, 5, 9])
def test_an_island_that_is_left_out_is_found_with_its_mass(dropped: int) -> None:
    real, island = islands(1500, dropped)
    generated, _ = islands(1000, dropped + 100, tuple(one for one in range(10) if one != dropped))
    modes = compare_modes(real, generated)
    assert modes.detected
    assert modes.lost == pytest.approx((island == dropped).mean(), abs=0.015)
    centres = clusters(real, len(modes.real))
    assert {int(centres[at].argmax()) for at in modes.missing} == {dropped}


def test_of_fresh_items_no_region_is_missing() -> None:
    results = [compare_modes(islands(900, seed)[0], islands(700, seed + 1)[0]) for seed in range(0, 80, 2)]
    assert sum(one.detected for one in results) <= 1
    assert np.mean([one.lost for one in results]) < 0.002
    assert np.mean([one.different for one in results]) == pytest.approx(0.05, abs=0.02)


def test_half_of_an_island_differs_and_is_not_missing() -> None:
    modes = compare_counts(np.array([500, 500]), np.array([700, 300]))
    assert modes.missing == []
    assert modes.different == 1
    assert compare_counts(np.array([500, 500]), np.array([990, 10])).lost == 0.5


def test_alpha_is_corrected_for_the_number_of_bins_unless_it_is_given() -> None:
    real, generated = np.full(50, 24), np.array([6, *[24] * 49])
    assert compare_counts(real, generated).missing == []
    assert compare_counts(real, np.array([0, *[24] * 49])).missing == [0]
    assert compare_counts(real, np.array([5, *[24] * 49]), alpha=1e-3).missing == [0]


counts = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=12).filter(
    lambda pairs: all(sum(side) for side in zip(*pairs, strict=True))
)


@settings(max_examples=100, deadline=None)
@given(pairs=counts)
def test_the_divergence_of_bins_is_jensen_shannons(pairs: list[tuple[int, int]]) -> None:
    real, generated = (np.array(side) for side in zip(*pairs, strict=True))
    modes = compare_counts(real, generated)
    assert modes.divergence == pytest.approx(jensenshannon(real, generated, base=2) ** 2, abs=1e-9)
    assert modes.real.sum() == pytest.approx(1)
    assert modes.lost == pytest.approx(modes.real[modes.missing].sum())
    mirrored = compare_counts(generated, real)
    assert modes.divergence == pytest.approx(mirrored.divergence)
    assert modes.different == mirrored.different
    assert compare_counts(real[::-1], generated[::-1]).lost == pytest.approx(modes.lost)


def test_divergences_by_hand() -> None:
    assert compare_counts(np.array([9, 0]), np.array([0, 4])).divergence == 1
    assert compare_counts(np.array([9, 3]), np.array([3, 1])).divergence == 0
    half = compare_counts(np.array([1, 1]), np.array([1, 0])).divergence
    assert half == pytest.approx(0.5 * (0.5 * math.log2(2 / 3) + 0.5) + 0.5 * math.log2(4 / 3))


@settings(max_examples=100, deadline=None)
@given(pairs=counts)
def test_different_bins_are_those_of_the_test_of_two_proportions(pairs: list[tuple[int, int]]) -> None:
    real, generated = (np.array(side) for side in zip(*pairs, strict=True))
    expected = []
    for a, b in pairs:
        table = [[a, b], [real.sum() - a, generated.sum() - b]]
        always = min(map(sum, table)) == 0
        expected.append(not always and stats.chi2_contingency(table, correction=False).pvalue < 0.05)
    assert compare_counts(real, generated).different == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("rows", [1, 7, 60])
def test_few_and_equal_items_have_modes_too(rows: int) -> None:
    for x in (torch.ones(rows, 3), normal(rows, 3), normal(rows, 3).round().float()):
        modes = compare_modes(x, x)
        assert (modes.lost, modes.different, modes.divergence) == (0, 0, 0)


def test_bins_hold_twenty_items() -> None:
    assert len(compare_modes(normal(2000, 3), normal(400, 3, seed=1)).real) == 20
    assert len(compare_modes(normal(5000, 3), normal(5000, 3, seed=1)).real) == 50
    assert len(compare_modes(normal(400, 3), normal(400, 3, seed=1), bins=7).real) == 7


# The Inception Score


@pytest.mark.parametrize("classes", [2, 5])
def test_certain_predictions_of_all_classes_score_their_number(classes: int) -> None:
    sure = torch.eye(classes).repeat(40, 1)
    value, error = inception_score(sure, splits=1)
    assert value == pytest.approx(classes)
    assert math.isnan(error)
    value, error = inception_score(torch.eye(classes).repeat(2000, 1), splits=10)
    assert value == pytest.approx(classes, rel=0.01)
    assert error < 0.01


def test_equal_predictions_score_one() -> None:
    for prediction in (torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.0, 1.0, 0.0])):
        assert inception_score(prediction.expand(200, 3)) == pytest.approx((1, 0), abs=1e-6)


def test_a_score_by_hand() -> None:
    unsure = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64).repeat(100, 1)
    bits = 1 + 0.9 * math.log2(0.9) + 0.1 * math.log2(0.1)
    assert inception_score(unsure, splits=1)[0] == pytest.approx(2**bits)


@settings(max_examples=40, deadline=None)
@given(classes=st.integers(1, 8), sharpness=st.floats(0, 50, allow_subnormal=False), seed=st.integers(0, 99))
def test_a_score_lies_between_one_and_the_number_of_classes(classes: int, sharpness: float, seed: int) -> None:
    probabilities = (sharpness * normal(120, classes, seed=seed)).float().softmax(1)
    value, error = inception_score(probabilities, splits=3, seed=seed)
    assert 1 - 1e-6 <= value <= classes + 1e-5
    assert error >= 0
    assert inception_score(probabilities, splits=1)[0] == pytest.approx(
        inception_score(probabilities.flip(0), splits=1, seed=5)[0]
    )


def test_too_few_items_for_a_score_are_counted() -> None:
    with pytest.raises(UserError, match=r"at least 200 items, 20 for each of 10 splits; found 199"):
        inception_score(torch.ones(199, 1))


# MS-SSIM


def direct(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """SSIM and its contrast-structure term as Wang et al. 2004 define them, on one channel in [0, 1]."""

    def window(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.gaussian_filter(z, 1.5, radius=5))[5:-5, 5:-5]

    mean_x, mean_y = window(x), window(y)
    variance_x, variance_y = window(x * x) - mean_x**2, window(y * y) - mean_y**2
    both = window(x * y) - mean_x * mean_y
    structure = (2 * both + 0.03**2) / (variance_x + variance_y + 0.03**2)
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    return float((luminance * structure).mean()), float(structure.mean())


def smooth(side: int, seed: int) -> NDArray[np.float64]:
    picture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 2)
    return np.asarray((picture - picture.min()) / np.ptp(picture))


def of_arrays(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(ms_ssim(torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None]))


def test_where_one_scale_fits_it_is_ssim() -> None:
    x = smooth(21, 0)
    y = np.clip(0.8 * x + 0.1 * smooth(21, 1), 0, 1)
    expected = direct(x, y)[0]
    assert 0.3 < expected < 0.99
    assert of_arrays(x, y) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("side", "scales"), [(22, 2), (64, 3), (176, 5)])
def test_more_scales_have_the_weights_of_the_paper(side: int, scales: int) -> None:
    x = smooth(side, 0)
    y = np.clip(0.8 * x + 0.1 * smooth(side, 1), 0, 1)
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:scales])
    expected, a, b = 1.0, x, y
    for scale, weight in enumerate(weights / weights.sum()):
        whole, structure = direct(a, b)
        expected *= (whole if scale == scales - 1 else structure) ** weight
        a, b = (
            z[: len(z) // 2 * 2, : len(z) // 2 * 2].reshape(len(z) // 2, 2, len(z) // 2, 2).mean((1, 3)) for z in (a, b)
        )
    assert of_arrays(x, y) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 1, 1), (3, 2, 5), (3, 40, 24), (3, 256, 256)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_equal_pictures_are_alike_at_any_size(shape: tuple[int, ...], kind: torch.dtype) -> None:
    x, y = (torch.rand(2, *shape, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (0, 1))
    x, y = x.to(kind), y.to(kind)
    assert ms_ssim(x, x).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert torch.allclose(ms_ssim(x, y), ms_ssim(y, x))
    similarity = ms_ssim(x, y)
    assert ((similarity >= 0) & (similarity < 1)).all()
    alone = torch.cat([ms_ssim(a[None], b[None]) for a, b in zip(x, y, strict=True)])
    assert torch.allclose(similarity, alone, atol=1e-6)


def test_pictures_are_less_alike_the_more_noise_there_is() -> None:
    x = torch.from_numpy(smooth(48, 0))[None, None]
    values = [float(ms_ssim(x, (x + s * normal(1, 1, 48, 48, seed=1)).clamp(0, 1))) for s in (0, 0.05, 0.2, 0.5)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1
    assert values[-1] < 0.5
    assert float(ms_ssim(x, 1 - x)) == 0  # its structure is the opposite


def picture(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.rint(255 * values).astype(np.uint8))


def test_similarity_is_the_mean_over_all_pairs() -> None:
    pictures = [picture(smooth(16, seed)) for seed in range(12)]
    x = torch.stack([torch.from_numpy(np.asarray(one) / 255.0)[None] for one in pictures])
    pairs = [(a, b) for a in range(12) for b in range(12) if a != b]
    similarities = ms_ssim(x[[a for a, _ in pairs]], x[[b for _, b in pairs]])
    pictures = planes(pictures, 1)
    value, error = mean_similarity(pictures, pairs=4000)
    assert value == pytest.approx(float(similarities.mean()), abs=4 * float(similarities.std()) / 4000**0.5)
    assert error == pytest.approx(float(similarities.std()) / 6**0.5, rel=0.1)
    assert mean_similarity(pictures, pairs=50) == mean_similarity(pictures, pairs=50)
    assert mean_similarity(pictures, pairs=50) != mean_similarity(pictures, pairs=50, seed=1)


def test_the_error_of_similarity_holds_what_new_pictures_give() -> None:
    sets = [[picture(smooth(12, 100 * seed + at)) for at in range(20)] for seed in range(25)]
    similarities = [mean_similarity(planes(pictures, 1), pairs=190) for pictures in sets]
    assert np.std([value for value, _ in similarities]) < np.mean([error for _, error in similarities])


def test_equal_pictures_of_any_mode_have_similarity_one() -> None:
    grey = picture(smooth(16, 0))
    for one in (grey, grey.convert("RGB"), Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)):
        assert mean_similarity(planes([one] * 10, 3)) == pytest.approx((1, 0), abs=1e-6)
    assert mean_similarity(planes([grey, grey.convert("RGB")] * 5, 3))[0] == pytest.approx(1, abs=1e-6)


def test_too_few_pictures_are_counted() -> None:
    with pytest.raises(UserError, match="at least 10 pictures; found 9"):
        mean_similarity(planes([picture(smooth(8, 0))] * 9, 1))


# Passages


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=6), length=st.integers(1, 30))
def test_passages_are_the_texts_in_order(texts: list[str], length: int) -> None:
    each = [passages([text], length) for text in texts]
    assert passages(texts, length) == [one for parts in each for one in parts]
    for text, parts in zip(texts, each, strict=True):
        assert all(0 < len(one) <= length for one in parts)
        joined = "".join(parts)
        assert text.startswith(joined)
        assert len(text) - len(joined) < length / 2  # what is left out
        assert bool(joined) == bool(text)


def test_passages_are_as_long_as_what_is_generated() -> None:
    assert passage_length(["long"] * 49, ["x" * 10, "x" * 70, "x" * 300]) == 70
    assert passage_length(["long"] * 49, ["x"]) == 40
    assert passage_length(["long"] * 50, ["x" * 70]) is None
    assert passage_length(["long"], []) is None
    assert [len(one) for one in passages(["x" * 250, "y" * 149], 100)] == [100, 100, 50, 100]
