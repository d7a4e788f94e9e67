"""The counter-based noise: known answers, independence of the batch, and the distributions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from morphogen.core.noise import Noise, philox

ONES = 0xFFFFFFFF

# Philox4x32-10 in the known-answer file of Random123 (kat_vectors), the reference implementation.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter, key, expected):
    words = philox([torch.tensor(word) for word in counter], [torch.tensor(word) for word in key])
    assert tuple(int(word) for word in words) == expected


@settings(max_examples=25, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5),
    shape=st.lists(st.integers(1, 5), max_size=3).map(tuple),
    at=st.integers(0, 2**40),
    kind=st.sampled_from(["normal", "uniform"]),
)
def test_a_sample_is_the_same_in_any_batch(seeds, shape, at, kind):
    together = getattr(Noise(seeds), kind)("name", shape, at=at)
    assert together.shape == (len(seeds), *shape)
    assert together.dtype == torch.float32
    for index, seed in enumerate(seeds):
        assert torch.equal(getattr(Noise([seed]), kind)("name", shape, at=at)[0], together[index])
    # A longer draw begins with the shorter one; a position per sample is that position.
    assert torch.equal(
        getattr(Noise(seeds), kind)("name", (7,), at=at)[:, :3], getattr(Noise(seeds), kind)("name", (3,), at=at)
    )
    per_sample = torch.arange(len(seeds)) + at
    by_position = getattr(Noise(seeds), kind)("name", shape, at=per_sample)
    assert torch.equal(by_position[-1], getattr(Noise(seeds[-1:]), kind)("name", shape, at=at + len(seeds) - 1)[0])


def test_count_shifts_seeds():
    assert torch.equal(Noise.consecutive(3, 4).normal("x", (5,))[2], Noise.consecutive(5, 1).normal("x", (5,))[0])


def test_streams_differ_and_are_uncorrelated():
    noise = Noise.consecutive(0, 2)
    draws = torch.stack(
        [
            noise.normal("a", (20_000,))[0],
            noise.normal("a", (20_000,))[1],
            noise.normal("b", (20_000,))[0],
            noise.normal("a", (20_000,), at=1)[0],
            noise.normal("a", (20_000,), at=2**32)[0],
        ]
    )
    correlation = torch.corrcoef(draws) - torch.eye(len(draws))
    assert correlation.abs().max() < 5 / 20_000**0.5


def test_uniform_is_open_and_uniform():
    x = Noise.consecutive(11, 4).uniform("u", (50_000,)).flatten()
    assert 0 < x.min() < 1e-4
    assert 1 - 1e-4 < x.max() < 1
    assert stats.kstest(x.double().numpy(), "uniform").pvalue > 1e-3


def test_the_largest_and_smallest_words_stay_inside(monkeypatch):
    for word in (0, ONES):
        noise = Noise([0])
        monkeypatch.setattr(noise, "_words", lambda name, count, at, word=word: torch.full((1, count, 4), word))
        value = noise.uniform("u", (4,))
        assert ((value > 0) & (value < 1)).all()
        assert noise.normal("n", (4,)).isfinite().all()


def test_normal_moments_and_shape():
    x = Noise.consecutive(5, 4).normal("n", (50_000,)).flatten().double()
    error = len(x) ** -0.5
    assert abs(x.mean()) < 5 * error
    assert abs(x.var() - 1) < 5 * error * 2**0.5
    assert abs((x**3).mean()) < 5 * error * 15**0.5
    assert abs((x**4).mean() - 3) < 5 * error * 96**0.5
    assert stats.kstest(x.numpy(), "norm").pvalue > 1e-3
