"""N-gram counts: against counting by hand, and a training row that does not read its own."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from morphogen.core.model import Batch
from morphogen.core.space import TokenSequence

from . import ngram
from .ngram import NetworkPrediction, NGramMixture
from .options import SequenceOptions
from .sequence import AutoregressiveSequence

END, START, ORDER, VOCAB = 4, 5, 3, 6


def documents(count: int, length: int = 12) -> Tensor:
    x = torch.randint(0, 3, (count, length), generator=torch.Generator().manual_seed(0))
    x[:, 0] = START
    return x


def fit_mixture(x: Tensor) -> NGramMixture:
    mixture = NGramMixture(VOCAB, 16, ORDER, start=START, end=END)
    mask = torch.ones_like(x, dtype=torch.bool)
    mixture.fit([(x[:7], mask[:7]), (x[7:], mask[7:])])
    return mixture


def by_hand(x: Tensor) -> Counter[tuple[int, ...]]:
    """How often each n-gram occurs, within documents."""
    return Counter(
        tuple(row[at : at + n]) for row in x.tolist() for n in range(1, ORDER + 2) for at in range(len(row) - n + 1)
    )


def test_counts_are_those_of_counting_by_hand() -> None:
    x, y = documents(40), documents(60)[50:]
    mixture, runs = fit_mixture(x), by_hand(x)
    counts = mixture.target_counts(y[:, :-1], y[:, 1:], mixture.columns(y, hold_out=True))
    dense = mixture.next_counts(y[:, :6], torch.full((len(y),), 6))
    for row in range(len(y)):
        tokens = y[row].tolist()
        for at in range(len(tokens) - 1):
            for order in range(1, ORDER + 1):
                context = tuple(tokens[at + 1 - order : at + 1]) if order <= at + 1 else None
                total = sum(runs[(*context, token)] for token in range(VOCAB)) if context else 0
                total *= total >= 2
                number = runs[(*(context or ()), tokens[at + 1])] if total else 0
                assert counts.total[row, at, order] == total
                assert counts.token_count[row, at, order] == number
                if at == 5:
                    assert dense.total[row, order] == total
                    assert dense.token_count[row, order, tokens[at + 1]] == number
                    assert dense.types[row, order] == (dense.token_count[row, order] > 0).sum()


@pytest.mark.parametrize("chunk", [256, 4])
def test_local_counts_are_those_of_the_item_so_far(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram, "_CHUNK", chunk)
    mixture = fit_mixture(documents(40))
    x = torch.randint(0, 2, (3, 20), generator=torch.Generator().manual_seed(1))
    x[0, [0, 9]] = START  # two items in a row
    x[1, 0] = START
    counts = mixture.target_counts(x[:, :-1], x[:, 1:], mixture.columns(x, hold_out=False))
    dense = mixture.next_counts(x[:, :15], torch.full((3,), 15))
    shorter = mixture.next_counts(x[:, :15], torch.tensor([15, 15, 6]))
    for row, tokens in enumerate(x.tolist()):
        for at in range(19):
            begin = 9 if row == 0 and at >= 9 else 0
            for number, order in enumerate(mixture.local_orders):
                before = tokens[begin : at + 1]
                context = before[-order:] if order <= len(before) else None
                places = [end for end in range(order, len(before)) if before[end - order : end] == context]
                assert counts.local_total[row, at, number] == len(places)
                assert counts.local_token_count[row, at, number] == sum(before[end] == tokens[at + 1] for end in places)
                if at == 14 and row:
                    assert dense.local_total[row, number] == len(places)
                    assert dense.local_token_count[row, number, tokens[15]] == counts.local_token_count[row, at, number]
    again = mixture.next_counts(x[2:, 9:15], torch.tensor([6]))
    assert torch.equal(again.local_token_count[0], shorter.local_token_count[2])


def test_counts_within_the_item_which_never_see_its_end_leave_the_end_as_likely_as_the_network_says() -> None:
    torch.manual_seed(0)
    mixture, x = fit_mixture(documents(40)), documents(60)[50:]
    window, length, logits = x[:, :6], torch.full((len(x),), 6), torch.randn(len(x), VOCAB)
    log_p = logits.log_softmax(dim=-1)
    with torch.no_grad():
        mixture.head.bias[-len(mixture.local_orders) :] = 20.0  # only these, where they have counts
        mixed = mixture.logits(torch.zeros(len(x), 16), logits, mixture.next_counts(window, length))
    known = mixture.next_counts(window, length).local_total.sum(-1) > 0
    assert known.any()
    assert torch.allclose(mixed.exp().sum(-1), torch.ones(len(x)), atol=1e-5)
    assert torch.allclose(mixed[known, END], log_p[known, END], atol=1e-4)
    for token in range(VOCAB):  # the likelihood is that of sampling
        target = torch.cat((x[:, 1:6], torch.full((len(x), 1), token)), dim=1)
        counts = mixture.target_counts(window, target, mixture.columns(x, hold_out=False))
        nats, end_nats = (-log_p[:, one : one + 1].expand(-1, 6) for one in (token, END))
        with torch.no_grad():
            scored = mixture.nats(NetworkPrediction(torch.zeros(len(x), 6, 16), nats, end_nats), target == END, counts)
        assert torch.allclose(-scored[:, -1], mixed[:, token], atol=1e-4)


def test_a_training_row_does_not_read_its_own_fold() -> None:
    x = documents(40)
    mixture = fit_mixture(x)
    others = fit_mixture(x[5:])
    first = x[:5]  # one fold of eight
    counts = mixture.target_counts(first[:, :-1], first[:, 1:], mixture.columns(first, hold_out=True))
    expected = others.target_counts(first[:, :-1], first[:, 1:], others.columns(first, hold_out=True))
    has_counts = expected.total > 0  # contexts that occur once only in the others are dropped there
    for ours, theirs in zip(counts[:3], expected[:3], strict=True):
        assert torch.equal(ours[has_counts], theirs[has_counts])
    assert (counts.total[~has_counts] <= 1).all()
    all_counts = mixture.target_counts(first[:, :-1], first[:, 1:], mixture.columns(first, hold_out=False))
    assert (all_counts.token_count >= 1)[..., 0].all()
    assert (all_counts.total >= counts.total).all()


def test_what_is_saved_gives_the_same_probabilities() -> None:
    torch.manual_seed(0)
    space, options = TokenSequence(VOCAB, 12, START, END), SequenceOptions(width=16, layers=1, ngram_order=ORDER)
    model, again = (AutoregressiveSequence(space, {}, options) for _ in range(2))
    x = documents(40)
    model.initialize("model", [Batch(x)])
    during = model.token_nats(x, {})
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.token_nats(x, {}), during)
    model.on_step_end(1.0, 1.0, {})
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval().token_nats(x, {}), model.eval().token_nats(x, {}))
    assert (model.token_nats(x, {}).sum() < during.sum()).item()  # without held-out folds, it knows these rows
