"""Counts of what follows: against counting by hand, and a training row that is told nothing of itself."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from morphogen.core.model import Batch
from morphogen.core.space import Tokens

from . import counts
from .counts import Counts
from .model import Autoregressive
from .options import Options

START, ORDER, VOCAB = 5, 3, 6


def documents(count: int, length: int = 12) -> Tensor:
    x = torch.randint(0, 3, (count, length), generator=torch.Generator().manual_seed(0))
    x[:, 0] = START
    return x


def counted(x: Tensor) -> Counts:
    made = Counts(VOCAB, 16, ORDER, START)
    mask = torch.ones_like(x, dtype=torch.bool)
    made.count([(x[:7], mask[:7]), (x[7:], mask[7:])])
    return made


def by_hand(x: Tensor) -> Counter[tuple[int, ...]]:
    """How often each run of symbols is there, in one document each."""
    return Counter(
        tuple(row[at : at + n]) for row in x.tolist() for n in range(1, ORDER + 2) for at in range(len(row) - n + 1)
    )


def test_numbers_are_those_of_counting_by_hand() -> None:
    x, y = documents(40), documents(60)[50:]
    made, runs = counted(x), by_hand(x)
    told = made.tally(y[:, :-1], y[:, 1:], made.columns(y, without_own=True))
    dense = made.tallies(y[:, :6], torch.full((len(y),), 6))
    for row in range(len(y)):
        symbols = y[row].tolist()
        for at in range(len(symbols) - 1):
            for order in range(1, ORDER + 1):
                context = tuple(symbols[at + 1 - order : at + 1]) if order <= at + 1 else None
                total = sum(runs[(*context, symbol)] for symbol in range(VOCAB)) if context else 0
                total *= total >= 2
                number = runs[(*(context or ()), symbols[at + 1])] if total else 0
                assert told.total[row, at, order] == total
                assert told.number[row, at, order] == number
                if at == 5:
                    assert dense.total[row, order] == total
                    assert dense.number[row, order, symbols[at + 1]] == number
                    assert dense.kinds[row, order] == (dense.number[row, order] > 0).sum()


@pytest.mark.parametrize("at_once", [256, 4])
def test_the_item_itself_is_counted_up_to_each_symbol(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_AT_ONCE", at_once)
    made = counted(documents(40))
    x = torch.randint(0, 2, (3, 20), generator=torch.Generator().manual_seed(1))
    x[0, [0, 9]] = START  # two items in a row
    x[1, 0] = START
    told = made.tally(x[:, :-1], x[:, 1:], made.columns(x, without_own=False))
    dense = made.tallies(x[:, :15], torch.full((3,), 15))
    shorter = made.tallies(x[:, :15], torch.tensor([15, 15, 6]))
    for row, symbols in enumerate(x.tolist()):
        for at in range(19):
            begin = 9 if row == 0 and at >= 9 else 0
            for number, order in enumerate(made.recent):
                before = symbols[begin : at + 1]
                context = before[-order:] if order <= len(before) else None
                places = [end for end in range(order, len(before)) if before[end - order : end] == context]
                assert told.own_total[row, at, number] == len(places)
                assert told.own_number[row, at, number] == sum(before[end] == symbols[at + 1] for end in places)
                if at == 14 and row:
                    assert dense.own_total[row, number] == len(places)
                    assert dense.own_number[row, number, symbols[15]] == told.own_number[row, at, number]
    again = made.tallies(x[2:, 9:15], torch.tensor([6]))
    assert torch.equal(again.own_number[0], shorter.own_number[2])


def test_a_training_row_is_told_nothing_of_its_own_fold() -> None:
    x = documents(40)
    made = counted(x)
    others = counted(x[5:])
    first = x[:5]  # one fold of eight
    told = made.tally(first[:, :-1], first[:, 1:], made.columns(first, without_own=True))
    apart = others.tally(first[:, :-1], first[:, 1:], others.columns(first, without_own=True))
    seen = apart.total > 0  # contexts that the others saw once only are dropped there
    for ours, theirs in zip(told[:3], apart[:3], strict=True):
        assert torch.equal(ours[seen], theirs[seen])
    assert (told.total[~seen] <= 1).all()
    whole = made.tally(first[:, :-1], first[:, 1:], made.columns(first, without_own=False))
    assert (whole.number >= 1)[..., 0].all()
    assert (whole.total >= told.total).all()


def test_what_is_saved_gives_the_same_probabilities() -> None:
    torch.manual_seed(0)
    space = Tokens(VOCAB, (12,), end=4, start=START)
    made, again = (Autoregressive(space, {}, Options(width=16, layers=1, counts=ORDER)) for _ in range(2))
    x = documents(40)
    made.begin("model", [Batch(x)])
    during = made.nats_of_sequences(x, {})
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.nats_of_sequences(x, {}), during)
    made.adapt(1.0, 1.0, {})
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.eval().nats_of_sequences(x, {}), made.eval().nats_of_sequences(x, {}))
    assert (made.nats_of_sequences(x, {}).sum() < during.sum()).item()  # for it knows these rows
