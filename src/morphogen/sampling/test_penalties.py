"""Penalties, biases and bans against their definitions, sample by sample and token by token."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.noise import Noise

from .logits import draw, probabilities
from .penalties import (
    TokenHistory,
    add_bias,
    allow_only,
    ban,
    ban_end,
    ban_repeats,
    constrain,
    penalise,
    process_logits,
)
from .token_controls import LogitControls

VOCAB = 5
INF = math.inf
# Rows of tokens, of which None is padding, at any place.
ROWS = st.integers(1, 9).flatmap(
    lambda length: st.lists(
        st.lists(st.none() | st.integers(0, VOCAB - 1), min_size=length, max_size=length), min_size=1, max_size=4
    )
)


def histories(rows: list[list[int | None]]) -> tuple[Tensor, Tensor]:
    """Tokens, −1 for padding, and which count."""
    tokens = torch.tensor([[-1 if token is None else token for token in row] for row in rows])
    return tokens, tokens >= 0


def history_of(*rows: list[int | None]) -> TokenHistory:
    return TokenHistory(*histories(list(rows)), VOCAB)


def some_logits(rows: int) -> Tensor:
    return Noise.consecutive(3, rows).normal("logits", (VOCAB,))


class Odd:
    """A constraint: only odd tokens."""

    def allowed(self) -> Tensor:
        return torch.arange(VOCAB) % 2 == 1

    def advance(self, token: int) -> None:
        pass

    def limit(self, tokens: int) -> None:
        pass

    def fork(self) -> Odd:
        return self


class Unconstrained(Odd):
    def allowed(self) -> None:  # type: ignore[override]
        return None


def test_penalties_in_closed_form() -> None:
    logits = torch.tensor([[2.0, -2.0, 0.0, 1.0, -INF]])
    history = history_of([0, 1, 1, 2, None, 4])
    assert penalise(logits, history, repetition=2.0).tolist() == [[1.0, -4.0, 0.0, 1.0, -INF]]
    assert penalise(logits, history, presence=0.5).tolist() == [[1.5, -2.5, -0.5, 1.0, -INF]]
    assert penalise(logits, history, frequency=0.5).tolist() == [[1.5, -3.0, -0.5, 1.0, -INF]]
    all_three = penalise(logits, history, repetition=2.0, presence=1.0, frequency=0.25)
    assert all_three.tolist() == [[-0.25, -5.5, -1.25, 1.0, -INF]]
    assert logits.tolist() == [[2.0, -2.0, 0.0, 1.0, -INF]]


@settings(deadline=None)
@given(ROWS, st.floats(0.25, 4), st.floats(-2, 2, allow_subnormal=False), st.floats(-2, 2, allow_subnormal=False))
def test_penalties_of_each_row_alone(
    rows: list[list[int | None]], repetition: float, presence: float, frequency: float
) -> None:
    logits = some_logits(len(rows)).double()
    expected = logits.tolist()
    for row, values in zip(rows, expected, strict=True):
        for token in range(VOCAB):
            if count := row.count(token):
                value = values[token] / repetition if values[token] > 0 else values[token] * repetition
                values[token] = value - presence - count * frequency
    result = penalise(logits, history_of(*rows), repetition=repetition, presence=presence, frequency=frequency)
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))


@settings(deadline=None)
@given(ROWS, st.integers(1, 4))
def test_no_ngram_occurs_twice(rows: list[list[int | None]], length: int) -> None:
    logits = some_logits(len(rows))
    result = ban_repeats(logits, history_of(*rows), length)
    for row, before, after in zip(rows, logits, result, strict=True):
        text = [token for token in row if token is not None]
        runs = [text[at : at + length] for at in range(len(text) - length + 1)]
        ending = text[len(text) - length + 1 :] if length > 1 else []
        banned = [len(text) >= length - 1 and [*ending, token] in runs for token in range(VOCAB)]
        assert after.tolist() == before.masked_fill(torch.tensor(banned), -INF).tolist()


@settings(deadline=None)
@given(ROWS, st.lists(st.booleans(), min_size=4, max_size=4), st.integers(0, 8))
def test_token_by_token_is_as_all_at_once(rows: list[list[int | None]], order: list[bool], at_first: int) -> None:
    tokens, counted_mask = histories(rows)
    at_once = TokenHistory(tokens, counted_mask, VOCAB)
    grown = TokenHistory(tokens[:, :at_first], counted_mask[:, :at_first], VOCAB)
    for at in range(at_first, tokens.shape[1]):
        grown.advance(tokens[:, at], counted_mask[:, at])
    assert torch.equal(grown.counts, at_once.counts)
    assert torch.equal(grown.lengths, at_once.lengths)
    for row, length in enumerate(at_once.lengths.tolist()):
        assert grown.tokens[row, :length].tolist() == [token for token in rows[row] if token is not None]
    logits = some_logits(len(rows))
    for step in (
        lambda history: penalise(logits, history, repetition=1.5),
        lambda history: ban_repeats(logits, history, 2),
    ):
        assert torch.equal(step(grown), step(at_once))


def test_selected_samples_are_independent() -> None:
    history = history_of([1, 2], [3, None])
    selected = history.select(torch.tensor([1, 1, 0]))
    selected.advance(torch.tensor([0, 1, 2]))
    assert selected.counts.tolist() == [[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 1, 2, 0, 0]]
    assert selected.lengths.tolist() == [2, 2, 3]
    assert history.counts.tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]


def test_long_histories_grow() -> None:
    history = TokenHistory.empty(2, VOCAB)
    for at in range(300):
        history.advance(torch.tensor([at % VOCAB, 0]), torch.tensor([True, at == 7]))
    assert history.counts.tolist() == [[60] * VOCAB, [1, 0, 0, 0, 0]]
    assert history.lengths.tolist() == [300, 1]
    assert ban_repeats(torch.zeros(2, VOCAB), history, 3).tolist() == [[-INF, 0, 0, 0, 0], [0.0] * VOCAB]


def test_bias_and_bans() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5])
    assert add_bias(logits, {0: 2.5, 3: -1.0, 4: -INF}).tolist() == [[3.5, 2.0, 3.0, 3.0, -INF], [2.5, 0, 0, -1, -INF]]
    assert allow_only(logits, [4, 1]).tolist() == [[-INF, 2.0, -INF, -INF, 5.0], [-INF, 0, -INF, -INF, 0]]
    assert ban(logits, {4, 1}).tolist() == [[1.0, -INF, 3.0, 4.0, -INF], [0, -INF, 0, 0, -INF]]
    assert ban_end(logits, torch.tensor([2, 3]), 4, 3).tolist() == [[1.0, 2.0, 3.0, 4.0, -INF], [0.0] * 5]
    assert constrain(logits, [[], [Unconstrained(), Odd()]]).tolist() == [
        [1.0, 2.0, 3.0, 4.0, 5.0],
        [-INF, 0, -INF, 0, -INF],
    ]
    assert logits.tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5]


@pytest.mark.parametrize("control", [lambda x, s: add_bias(x, {s: 1.0}), lambda x, s: allow_only(x, [s]), ban])
@pytest.mark.parametrize("token", [-1, VOCAB])
def test_a_token_out_of_range_is_refused(control: Callable, token: int) -> None:
    with pytest.raises(UserError, match=f"names token {token}; token ids are 0 to 4"):
        control(torch.zeros(1, VOCAB), token if control is not ban else [token])


def test_neutral_settings_return_the_same_logits() -> None:
    logits, history = some_logits(2), history_of([0, 1, 1], [2, None, None])
    neutral = [
        penalise(logits, history),
        penalise(logits, TokenHistory.empty(2, VOCAB), repetition=2.0, frequency=1.0),
        add_bias(logits, {}),
        ban(logits, []),
        ban_repeats(logits, history, 0),
        ban_repeats(logits, history, 4),
        ban_end(logits, history.lengths, 0, 0),
        constrain(logits, []),
        constrain(logits, [[Unconstrained()], []]),
        process_logits(logits, LogitControls(), history),
    ]
    assert all(result is logits for result in neutral)
    assert LogitControls(temperature=0.5, guidance=2.0).keeps_logits
    assert not LogitControls(banned=(1,)).keeps_logits


def test_all_together_in_their_order() -> None:
    logits, history = some_logits(2), history_of([0, 1, 0, 1, 0], [2, None, 3, None, None])
    before = logits.clone()
    controls = LogitControls(
        repetition_penalty=1.3,
        presence_penalty=0.2,
        frequency_penalty=0.1,
        logit_bias={0: 5.0, 3: -1.0},
        allowed=(0, 1, 3),
        banned=(2,),
        no_repeat_ngram=2,
    )
    expected = penalise(logits, history, repetition=1.3, presence=0.2, frequency=0.1) + torch.tensor([5.0, 0, 0, -1, 0])
    expected[:, [2, 4]] = -INF
    expected[0, 1] = -INF  # after 0 comes 1
    expected[1, 3] = -INF  # that sample has two tokens
    assert torch.equal(process_logits(logits, controls, history, min_length=3, end=3), expected)
    expected[0, 3] = -INF
    generated = torch.tensor([2, 2])
    assert torch.equal(process_logits(logits, controls, history, generated=generated, min_length=3, end=3), expected)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    ("settings", "constraints", "min_length", "sample", "names"),
    [
        ({"allowed": (0, 2), "banned": (0, 2)}, [], 0, 0, "allowed and banned"),
        ({"logit_bias": dict.fromkeys(range(5), -INF)}, [], 0, 0, "logit_bias"),
        ({"allowed": (0,), "banned": (1,), "no_repeat_ngram": 1}, [], 0, 1, "allowed and no_repeat_ngram"),
        ({"allowed": (3,)}, [], 3, 0, "allowed and min_length"),
        ({"allowed": (0,)}, [[], [Unconstrained(), Odd()]], 0, 1, "allowed and the token constraints"),
        ({"allowed": (0,), "logit_bias": {0: -INF}}, [], 0, 0, "logit_bias and allowed"),
    ],
)
def test_no_token_left_is_an_error_that_names_the_conflict(
    settings: dict, constraints: list, min_length: int, sample: int, names: str
) -> None:
    history = history_of([1, 1, None], [0, 2, 3])
    with pytest.raises(UserError) as error:
        process_logits(
            torch.zeros(2, VOCAB), LogitControls(**settings), history, constraints, min_length=min_length, end=3
        )
    expected = f"sample {sample} has no token left after {2 + sample}: {names} together ban all; relax one of them"
    assert str(error.value) == expected


def test_no_token_left_of_those_that_the_model_allows() -> None:
    logits = torch.tensor([[0.0, -INF, -INF, 0.0, 0.0]])
    with pytest.raises(UserError, match="the model and allowed together ban all"):
        process_logits(logits, LogitControls(allowed=(1, 2), repetition_penalty=2.0), history_of([0]))


def test_samples_have_the_frequencies_of_the_processed_logits() -> None:
    """p = 1/5 each; token 1 occurred twice and loses ln 2 a time, 3 is banned, 4 gains ln 3: 4 : 1 : 4 : 0 : 12."""
    controls = LogitControls(frequency_penalty=math.log(2), banned=(3,), logit_bias={4: math.log(3)})
    p = probabilities(process_logits(torch.zeros(1, VOCAB), controls, history_of([1, 1])))
    assert p[0].tolist() == pytest.approx([4 / 21, 1 / 21, 4 / 21, 0, 12 / 21])
    tokens = draw(p.expand(20_000, -1), Noise.consecutive(0, 20_000).uniform("symbol", ()))
    counts = tokens.bincount(minlength=VOCAB)
    assert counts[3] == 0
    possible = p[0] > 0
    assert stats.chisquare(counts[possible].numpy(), (p[0][possible] * 20_000).numpy()).pvalue > 1e-3
