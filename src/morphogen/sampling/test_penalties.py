"""Penalties, biases and bans against their definitions, row by row and symbol by symbol."""

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
from .penalties import Seen, Steering, biased, obeying, only, penalised, steered, unended, unrepeated, without

VOCAB = 5
INF = math.inf
# Rows of symbols, of which None is padding, at any place.
ROWS = st.integers(1, 9).flatmap(
    lambda length: st.lists(
        st.lists(st.none() | st.integers(0, VOCAB - 1), min_size=length, max_size=length), min_size=1, max_size=4
    )
)


def histories(rows: list[list[int | None]]) -> tuple[Tensor, Tensor]:
    """Padding is a symbol too, and a negative one."""
    symbols = torch.tensor([[-1 if symbol is None else symbol for symbol in row] for row in rows])
    return symbols, symbols >= 0


def seen_of(*rows: list[int | None]) -> Seen:
    return Seen(*histories(list(rows)), VOCAB)


def some_logits(rows: int) -> Tensor:
    return Noise.count(3, rows).normal("logits", (VOCAB,))


class Odd:
    """A rule: only odd symbols."""

    def allowed(self) -> Tensor:
        return torch.arange(VOCAB) % 2 == 1

    def advance(self, symbol: int) -> None:
        pass

    def fork(self) -> Odd:
        return self


class Any:
    """A rule that lets everything pass."""

    def allowed(self) -> None:
        return None

    def advance(self, symbol: int) -> None:
        pass

    def fork(self) -> Any:
        return self


def test_penalties_in_closed_form() -> None:
    logits = torch.tensor([[2.0, -2.0, 0.0, 1.0, -INF]])
    seen = seen_of([0, 1, 1, 2, None, 4])
    assert penalised(logits, seen, repetition=2.0).tolist() == [[1.0, -4.0, 0.0, 1.0, -INF]]
    assert penalised(logits, seen, presence=0.5).tolist() == [[1.5, -2.5, -0.5, 1.0, -INF]]
    assert penalised(logits, seen, frequency=0.5).tolist() == [[1.5, -3.0, -0.5, 1.0, -INF]]
    all_three = penalised(logits, seen, repetition=2.0, presence=1.0, frequency=0.25)
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
        for symbol in range(VOCAB):
            if count := row.count(symbol):
                value = values[symbol] / repetition if values[symbol] > 0 else values[symbol] * repetition
                values[symbol] = value - presence - count * frequency
    found = penalised(logits, seen_of(*rows), repetition=repetition, presence=presence, frequency=frequency)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@settings(deadline=None)
@given(ROWS, st.integers(1, 4))
def test_a_run_never_comes_twice(rows: list[list[int | None]], length: int) -> None:
    logits = some_logits(len(rows))
    found = unrepeated(logits, seen_of(*rows), length)
    for row, before, after in zip(rows, logits, found, strict=True):
        text = [symbol for symbol in row if symbol is not None]
        runs = [text[at : at + length] for at in range(len(text) - length + 1)]
        ending = text[len(text) - length + 1 :] if length > 1 else []
        banned = [len(text) >= length - 1 and [*ending, symbol] in runs for symbol in range(VOCAB)]
        assert after.tolist() == before.masked_fill(torch.tensor(banned), -INF).tolist()


@settings(deadline=None)
@given(ROWS, st.lists(st.booleans(), min_size=4, max_size=4), st.integers(0, 8))
def test_symbol_by_symbol_is_as_all_at_once(rows: list[list[int | None]], order: list[bool], at_first: int) -> None:
    symbols, counted = histories(rows)
    whole = Seen(symbols, counted, VOCAB)
    grown = Seen(symbols[:, :at_first], counted[:, :at_first], VOCAB)
    for at in range(at_first, symbols.shape[1]):
        grown.advance(symbols[:, at], counted[:, at])
    assert torch.equal(grown.counts, whole.counts)
    assert torch.equal(grown.lengths, whole.lengths)
    for row, length in enumerate(whole.lengths.tolist()):
        assert grown.symbols[row, :length].tolist() == [symbol for symbol in rows[row] if symbol is not None]
    logits = some_logits(len(rows))
    for step in (lambda seen: penalised(logits, seen, repetition=1.5), lambda seen: unrepeated(logits, seen, 2)):
        assert torch.equal(step(grown), step(whole))


def test_rows_that_were_selected_go_their_own_way() -> None:
    seen = seen_of([1, 2], [3, None])
    chosen = seen.select(torch.tensor([1, 1, 0]))
    chosen.advance(torch.tensor([0, 1, 2]))
    assert chosen.counts.tolist() == [[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 1, 2, 0, 0]]
    assert chosen.lengths.tolist() == [2, 2, 3]
    assert seen.counts.tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]


def test_long_histories_grow() -> None:
    seen = Seen.nothing(2, VOCAB)
    for at in range(300):
        seen.advance(torch.tensor([at % VOCAB, 0]), torch.tensor([True, at == 7]))
    assert seen.counts.tolist() == [[60] * VOCAB, [1, 0, 0, 0, 0]]
    assert seen.lengths.tolist() == [300, 1]
    assert unrepeated(torch.zeros(2, VOCAB), seen, 3).tolist() == [[-INF, 0, 0, 0, 0], [0.0] * VOCAB]


def test_bias_and_bans() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5])
    assert biased(logits, {0: 2.5, 3: -1.0, 4: -INF}).tolist() == [[3.5, 2.0, 3.0, 3.0, -INF], [2.5, 0, 0, -1, -INF]]
    assert only(logits, [4, 1]).tolist() == [[-INF, 2.0, -INF, -INF, 5.0], [-INF, 0, -INF, -INF, 0]]
    assert without(logits, {4, 1}).tolist() == [[1.0, -INF, 3.0, 4.0, -INF], [0, -INF, 0, 0, -INF]]
    assert unended(logits, torch.tensor([2, 3]), 4, 3).tolist() == [[1.0, 2.0, 3.0, 4.0, -INF], [0.0] * 5]
    assert obeying(logits, [[], [Any(), Odd()]]).tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0], [-INF, 0, -INF, 0, -INF]]
    assert logits.tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5]


@pytest.mark.parametrize("control", [lambda x, s: biased(x, {s: 1.0}), lambda x, s: only(x, [s]), without])
@pytest.mark.parametrize("symbol", [-1, VOCAB])
def test_a_symbol_that_is_none(control: Callable, symbol: int) -> None:
    with pytest.raises(UserError, match=f"names symbol {symbol}, and the symbols are 0 to 4"):
        control(torch.zeros(1, VOCAB), symbol if control is not without else [symbol])


def test_neutral_settings_are_no_work() -> None:
    logits, seen = some_logits(2), seen_of([0, 1, 1], [2, None, None])
    neutral = [
        penalised(logits, seen),
        penalised(logits, Seen.nothing(2, VOCAB), repetition=2.0, frequency=1.0),
        biased(logits, {}),
        without(logits, []),
        unrepeated(logits, seen, 0),
        unrepeated(logits, seen, 4),
        unended(logits, seen.lengths, 0, 0),
        obeying(logits, []),
        obeying(logits, [[Any()], []]),
        steered(logits, Steering(), seen),
    ]
    assert all(found is logits for found in neutral)


def test_all_together_in_their_order() -> None:
    logits, seen = some_logits(2), seen_of([0, 1, 0, 1, 0], [2, None, 3, None, None])
    kept = logits.clone()
    steering = Steering(
        repetition=1.3,
        presence=0.2,
        frequency=0.1,
        bias={0: 5.0, 3: -1.0},
        allowed=[0, 1, 3],
        banned=[2],
        no_repeat=2,
        least=3,
        end=3,
    )
    expected = penalised(logits, seen, repetition=1.3, presence=0.2, frequency=0.1) + torch.tensor([5.0, 0, 0, -1, 0])
    expected[:, [2, 4]] = -INF
    expected[0, 1] = -INF  # after 0 comes 1
    expected[1, 3] = -INF  # that row has two symbols
    assert torch.equal(steered(logits, steering, seen), expected)
    expected[0, 3] = -INF
    assert torch.equal(steered(logits, steering, seen, drawn=torch.tensor([2, 2])), expected)
    assert torch.equal(logits, kept)


@pytest.mark.parametrize(
    ("steering", "rules", "told"),
    [
        (Steering(allowed=[0, 2], banned=[0, 2]), [], "0, the allowed symbols and the banned symbols"),
        (Steering(bias=dict.fromkeys(range(5), -INF)), [], "0, the bias"),
        (Steering(allowed=[0], banned=[1], no_repeat=1), [], "1, the allowed symbols and no repeat of 1"),
        (Steering(allowed=[3], least=3, end=3), [], "0, the allowed symbols and a length of at least 3"),
        (Steering(allowed=[0]), [[], [Any(), Odd()]], "1, the allowed symbols and the rules"),
        (Steering(allowed=[0], bias={0: -INF}), [], "0, the bias and the allowed symbols"),
    ],
)
def test_nothing_is_left(steering: Steering, rules: list, told: str) -> None:
    seen = seen_of([1, 1, None], [0, 2, 3])
    row, controls = told.split(", ")
    with pytest.raises(UserError) as caught:
        steered(torch.zeros(2, VOCAB), steering, seen, rules)
    length = 2 + int(row)
    expected = f"sample {row} cannot go on after {length} symbols: every one is banned by {controls}"
    assert str(caught.value) == expected


def test_nothing_is_left_of_what_a_model_allows() -> None:
    logits = torch.tensor([[0.0, -INF, -INF, 0.0, 0.0]])
    with pytest.raises(UserError, match=r"banned by what the model allows and the allowed symbols$"):
        steered(logits, Steering(allowed=[1, 2], repetition=2.0), seen_of([0]))


def test_draws_have_the_frequencies_of_the_penalised() -> None:
    """p = 1/5 each; symbol 1 was seen twice and loses ln 2 a time, 3 is banned, 4 gains ln 3: 4 : 1 : 4 : 0 : 12."""
    steering = Steering(frequency=math.log(2), banned=[3], bias={4: math.log(3)})
    p = probabilities(steered(torch.zeros(1, VOCAB), steering, seen_of([1, 1])))
    assert p[0].tolist() == pytest.approx([4 / 21, 1 / 21, 4 / 21, 0, 12 / 21])
    drawn = draw(p.expand(20_000, -1), Noise.count(0, 20_000).uniform("symbol", ()))
    counts = drawn.bincount(minlength=VOCAB)
    assert counts[3] == 0
    kept = p[0] > 0
    assert stats.chisquare(counts[kept].numpy(), (p[0][kept] * 20_000).numpy()).pvalue > 1e-3
