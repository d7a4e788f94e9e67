"""From logits to tokens against closed forms and frequencies."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from morphogen.core.noise import Noise

from .logits import controlled, draw, guided, nucleus, probabilities
from .token_controls import TokenControls

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()


def spread(**settings: float) -> list[float]:
    p = controlled(LOGITS, TokenControls(**settings))
    assert torch.equal(p, probabilities(LOGITS, **settings))  # type: ignore[arg-type]
    return p.tolist()


def test_plain_probabilities() -> None:
    assert spread() == pytest.approx([0.5, 0.3, 0.15, 0.05])


def test_temperature_raises_to_a_power() -> None:
    squares = torch.tensor([0.25, 0.09, 0.0225, 0.0025])
    assert spread(temperature=0.5) == pytest.approx((squares / squares.sum()).tolist())
    assert spread(temperature=0) == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.79}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.81}, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        ({"top_p": 0.01}, [1, 0, 0, 0]),
        ({"top_k": 3, "top_p": 0.5}, [1, 0, 0, 0]),
        ({"min_p": 0.59}, [0.625, 0.375, 0, 0]),
        ({"min_p": 0.61}, [1, 0, 0, 0]),
        ({"min_p": 1}, [1, 0, 0, 0]),
        # The entropy is 1.14 nats; the information of .3 is 1.20, of .5 .69, of .15 1.90, of .05 3.00.
        ({"typical_p": 0.29}, [0, 1, 0, 0]),
        ({"typical_p": 0.31}, [0.625, 0.375, 0, 0]),
        ({"typical_p": 0.9}, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        # .5 and .3 are left, of entropy .66; the information of one, .47, is nearer to it than that of the other, .98.
        ({"top_k": 2, "typical_p": 0.5}, [1, 0, 0, 0]),
    ],
)
def test_truncation(settings: dict[str, float], expected: list[float]) -> None:
    assert spread(**settings) == pytest.approx(expected, abs=1e-12)


@given(
    # Where a test before flushed them to zero, hypothesis has no subnormal numbers to offer.
    st.lists(st.floats(-30, 30, allow_subnormal=False), min_size=1, max_size=20),
    st.floats(0, 3, allow_subnormal=False),
    st.integers(0, 25),
    st.floats(1e-6, 1),
    st.floats(0, 1, allow_subnormal=False),
    st.floats(1e-6, 1),
    st.floats(1e-7, 1 - 1e-7),
)
def test_a_distribution_and_a_token_it_allows(
    logits: list[float], temperature: float, top_k: int, top_p: float, min_p: float, typical_p: float, uniform: float
) -> None:
    x = torch.tensor(logits)
    settings = {"top_k": top_k, "top_p": top_p, "min_p": min_p, "typical_p": typical_p}
    p = probabilities(x, temperature=temperature, **settings)  # type: ignore[arg-type]
    assert x.tolist() == torch.tensor(logits).tolist(), "the input changed"
    assert p.sum().item() == pytest.approx(1)
    assert (p >= 0).all()
    assert p[int(draw(p, torch.tensor(uniform)))] > 0


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any),
    st.floats(1e-6, 1, exclude_max=True, allow_subnormal=False),
)
def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass(weights: list[int], mass: float) -> None:
    """With many equal weights, alone and in a batch of other rows."""
    p = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    keep = nucleus(p, mass) > 0
    assert p[keep].sum() >= mass - 1e-12
    assert p[keep].sum() - p[keep].min() < mass, "one less would have reached it"
    assert p[keep].min() >= p[~keep].max() if (~keep).any() else True
    lowest = torch.nonzero(p == p[keep].min()).flatten()
    assert keep[lowest].tolist() == sorted(keep[lowest].tolist(), reverse=True), "ties go to lower tokens"
    assert torch.equal(nucleus(torch.stack((p.flip(0), p)), mass)[1] > 0, keep)


def test_a_token_of_probability_zero_is_never_sampled() -> None:
    p = probabilities(torch.tensor([-torch.inf, 1.0, -torch.inf]), temperature=2.0, top_k=0, top_p=0.99)
    tokens = draw(p.expand(3, -1), torch.tensor([1e-9, 0.5, 1 - 1e-9]))
    assert tokens.tolist() == [1, 1, 1]


def test_samples_have_the_frequencies_of_the_distribution() -> None:
    p = probabilities(LOGITS, temperature=1.0, top_k=0, top_p=1.0)
    tokens = draw(p.expand(20_000, -1), Noise.consecutive(0, 20_000).uniform("symbol", ()))
    counts = tokens.bincount(minlength=4)
    assert stats.chisquare(counts.numpy(), (p * 20_000).numpy()).pvalue > 1e-3


def test_guidance_of_logits() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])
    assert torch.equal(guided(a, b, 1.0), a)
    assert torch.equal(guided(a, b, 0.0), b)
    assert guided(a, b, 2.0).tolist() == [2.0, 0.0]
