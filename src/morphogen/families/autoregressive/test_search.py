"""The likeliest sequences, against the enumeration of all."""

from __future__ import annotations

import itertools

import pytest
import torch
from pydantic import ValidationError

from .options import SequenceControls
from .sequence import AutoregressiveSequence
from .test_sequence_model import END, START, prompts, random_model, texts

MAX_LENGTH = 4


def scores(model: AutoregressiveSequence, power: float) -> dict[tuple[int, ...], float]:
    """The scores of all texts of at most MAX_LENGTH tokens: those that end, and those still open then."""
    result = {}
    for n in range(MAX_LENGTH + 1):
        for word in itertools.product(range(3), repeat=n):
            ends = [END] if n < MAX_LENGTH else []
            x = torch.tensor([[START, *word, *ends]])
            with torch.no_grad():
                nats = float(model.token_nats(x, {}).sum())
            result[word] = -nats / (n + len(ends)) ** power
    return result


def without_start(model: AutoregressiveSequence) -> AutoregressiveSequence:
    """A start is never sampled; here it takes no probability from the others."""
    assert model.ngrams is not None
    with torch.no_grad():
        model.head.bias[START] = -1e4
        model.ngrams.head.weight.zero_()
        model.ngrams.head.bias.fill_(-1e4)
        model.ngrams.head.bias[0] = 0
    return model


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_as_many_beams_as_texts_give_the_likeliest(power: float) -> None:
    for seed in range(3):
        model = without_start(random_model())
        torch.manual_seed(seed)
        torch.nn.init.normal_(model.head.weight, std=0.6)
        score = scores(model, power)
        best = max(score, key=lambda word: score[word])
        result = texts(model, prompts([[]]), beams=100, length_penalty=power, max_length=MAX_LENGTH)
        assert result == [list(best)]


def test_two_beams_are_no_worse_than_greedy_and_samples_are_independent() -> None:
    model = without_start(random_model())
    of = scores(model, 1.0)
    (greedy,) = texts(model, prompts([[]]), temperature=0.0, max_length=MAX_LENGTH)
    (two,) = texts(model, prompts([[]]), beams=2, max_length=MAX_LENGTH)
    assert of[tuple(two)] >= of[tuple(greedy)] - 1e-6
    together = texts(model, prompts([[1], [], [2, 2, 0]]), beams=3, max_length=MAX_LENGTH, no_repeat_ngram=1)
    assert together == [
        *texts(model, prompts([[1]]), beams=3, max_length=MAX_LENGTH, no_repeat_ngram=1),
        *texts(model, prompts([[]]), beams=3, max_length=MAX_LENGTH, no_repeat_ngram=1),
        *texts(model, prompts([[2, 2, 0]]), beams=3, max_length=MAX_LENGTH, no_repeat_ngram=1),
    ]
    assert all(len(set(row)) == len(row) for row in (together[0], together[1]))


def test_beams_continue_past_the_context() -> None:
    model = without_start(random_model())
    model.head.bias.data[END] -= 50
    (text,) = texts(model, prompts([[0, 1]]), beams=4, max_length=20)
    assert len(text) == 22


def test_the_best_of_several_samples_is_the_likeliest_of_them() -> None:
    model = without_start(random_model())
    of = scores(model, 1.0)
    one, four = (texts(model, prompts([[]] * 30), best_of=n, max_length=MAX_LENGTH) for n in (1, 4))
    assert all(of[tuple(better)] >= of[tuple(first)] - 1e-5 for first, better in zip(one, four, strict=True))
    assert one != four
    assert texts(model, prompts([[]]), seed=3, best_of=4, max_length=MAX_LENGTH) == [four[3]]


def test_beams_and_best_of_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="best_of has no effect with beams 2; drop it, or use beams 1"):
        SequenceControls(beams=2, best_of=2)
