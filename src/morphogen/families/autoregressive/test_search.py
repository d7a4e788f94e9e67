"""The likeliest sequences, against all there are."""

from __future__ import annotations

import itertools

import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.model import Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens

from .model import Autoregressive
from .options import Controls, Options
from .test_sequence import END, START, model, prompts, texts

MOST = 4


def scores(made: Autoregressive, power: float) -> dict[tuple[int, ...], float]:
    """Of all there is to draw in MOST symbols: what ended, and what is open then."""
    found = {}
    for n in range(MOST + 1):
        for word in itertools.product(range(3), repeat=n):
            ends = [END] if n < MOST else []
            x = torch.tensor([[START, *word, *ends]])
            with torch.no_grad():
                nats = float(made.nats_of_sequences(x, {}).sum())
            found[word] = -nats / (n + len(ends)) ** power
    return found


def without_start(made: Autoregressive) -> Autoregressive:
    """Nobody draws a start, which so takes no probability from the others here."""
    assert made.counts is not None
    with torch.no_grad():
        made.head.bias[START] = -1e4
        made.counts.head.weight.zero_()
        made.counts.head.bias.fill_(-1e4)
        made.counts.head.bias[0] = 0
    return made


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_as_many_beams_as_texts_find_the_likeliest(power: float) -> None:
    for seed in range(3):
        made = without_start(model())
        torch.manual_seed(seed)
        torch.nn.init.normal_(made.head.weight, std=0.6)
        all_of_them = scores(made, power)
        best = max(all_of_them, key=lambda word: all_of_them[word])
        found = texts(made, prompts([[]]), beams=100, length_penalty=power, max_length=MOST)
        assert found == [list(best)]


def test_one_beam_more_is_never_worse_than_greedy_and_each_sample_is_its_own() -> None:
    made = without_start(model())
    of = scores(made, 1.0)
    (greedy,) = texts(made, prompts([[]]), temperature=0.0, max_length=MOST)
    (two,) = texts(made, prompts([[]]), beams=2, max_length=MOST)
    assert of[tuple(two)] >= of[tuple(greedy)] - 1e-6
    together = texts(made, prompts([[1], [], [2, 2, 0]]), beams=3, max_length=MOST, no_repeat_ngram=1)
    assert together == [
        *texts(made, prompts([[1]]), beams=3, max_length=MOST, no_repeat_ngram=1),
        *texts(made, prompts([[]]), beams=3, max_length=MOST, no_repeat_ngram=1),
        *texts(made, prompts([[2, 2, 0]]), beams=3, max_length=MOST, no_repeat_ngram=1),
    ]
    assert all(len(set(row)) == len(row) for row in (together[0], together[1]))


def test_beams_go_past_the_context() -> None:
    made = without_start(model())
    made.head.bias.data[END] -= 50
    (found,) = texts(made, prompts([[0, 1]]), beams=4, max_length=20)
    assert len(found) == 22


def test_the_best_of_several_draws_is_the_likeliest_of_them() -> None:
    made = without_start(model())
    of = scores(made, 1.0)
    one, four = (texts(made, prompts([[]] * 30), best_of=n, max_length=MOST) for n in (1, 4))
    assert all(of[tuple(better)] >= of[tuple(first)] - 1e-5 for first, better in zip(one, four, strict=True))
    assert one != four
    assert texts(made, prompts([[]]), seed=3, best_of=4, max_length=MOST) == [four[3]]


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(UserError, match="beams or best_of"):
        texts(model(), prompts([[]]), beams=2, best_of=2)
    grid = Autoregressive(Tokens(3, (2, 2)), {}, Options(width=16, layers=1))
    with pytest.raises(UserError, match="sequences"):
        list(grid.generate(Request(Noise.count(0, 1)), Controls(beams=2)))
