"""Beam search against the enumeration of all texts."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from morphogen.core.noise import Noise

from .beam import Beams, extend

VOCAB, END, LENGTH = 3, 2, 4


def transitions() -> Tensor:
    """ln p of each token after each one, and at the start, `(VOCAB + 1, VOCAB)`."""
    return Noise([5]).normal("chances", (VOCAB + 1, VOCAB))[0].double().mul(2).log_softmax(-1)


def score(text: tuple[int, ...]) -> float:
    table = transitions()
    before = (VOCAB, *text[:-1])
    return float(sum(table[last, token] for last, token in zip(before, text, strict=True)))


def search(beams: int, alpha: float) -> tuple[dict[tuple[int, ...], float], dict[tuple[int, ...], float]]:
    """The texts that are open after LENGTH tokens, and those that ended, with their scores."""
    texts: list[tuple[int, ...]] = [()]
    scores = torch.zeros(1, dtype=torch.float64)
    over = {}
    for length in range(1, LENGTH + 1):
        table = transitions()[[text[-1] if text else VOCAB for text in texts]]
        active, ended = extend(table, scores, beams, length, end=END, alpha=alpha)
        for parent, token, value in zip(*(part.tolist() for part in ended), strict=True):
            over[(*texts[parent], token)] = value
        texts = [(*texts[parent], token) for parent, token in zip(*(x.tolist() for x in active[:2]), strict=True)]
        scores = active.score
    return dict(zip(texts, scores.tolist(), strict=True)), over


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_as_many_beams_as_texts_give_all(alpha: float) -> None:
    active, over = search(200, alpha)
    texts = list(itertools.product(range(2), repeat=LENGTH))
    assert active == pytest.approx({text: score(text) for text in texts})
    ends = [(*text, END) for length in range(LENGTH) for text in itertools.product(range(2), repeat=length)]
    assert over == pytest.approx({text: score(text) / len(text) ** alpha for text in ends})


def test_one_beam_is_greedy() -> None:
    active, over = search(1, 1.0)
    text: tuple[int, ...] = ()
    for _ in range(LENGTH):
        row = transitions()[text[-1] if text else VOCAB]
        if row.argmax() == END:
            assert over[(*text, END)] == pytest.approx(score((*text, END)) / (len(text) + 1))
            row = row[:END]
        text = (*text, int(row.argmax()))
    assert list(active) == [text]


def test_closed_form_with_ties_and_impossible_tokens() -> None:
    halves = torch.tensor([[0.5, 0.0, 0.5], [0.25, 0.5, 0.25]]).log()
    active, ended = extend(halves, torch.tensor([0.0, 0.0]), 3, 2, end=2, alpha=2.0)
    assert active.parent.tolist() == [0, 1, 1]
    assert active.token.tolist() == [0, 1, 0]
    assert active.score.tolist() == pytest.approx(torch.tensor([0.5, 0.5, 0.25]).log().tolist())
    # The other end, of 0.25, is the fifth: not among three.
    assert [part.tolist() for part in ended[:2]] == [[0], [2]]
    assert ended.score.tolist() == pytest.approx([float(torch.tensor(0.5).log()) / 4])
    empty = extend(torch.full((2, 3), -torch.inf), torch.zeros(2), 2, 1)
    assert all(isinstance(beams, Beams) and not len(beams.score) for beams in empty)


def test_without_an_end_none_ends() -> None:
    active, ended = extend(transitions()[:1], torch.zeros(1, dtype=torch.float64), 2, 1)
    assert len(active.score) == 2
    assert not len(ended.score)
    assert active.score.tolist() == transitions()[0].sort(descending=True).values[:2].tolist()
