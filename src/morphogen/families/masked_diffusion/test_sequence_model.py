"""Masked diffusion of sequences: lengths that are sampled first, packed rows, windows, and gaps within a text."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Partial, Request, TokenConstraint
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens, TokenSequence

from .lengths import Lengths
from .options import Options, SequenceControls
from .sequence import MaskedDiffusionSequence, windows

START, END = 4, 3


def random_model(context: int = 8, classes: int = 0) -> MaskedDiffusionSequence:
    """With random weights, so that no two tokens are alike, and arbitrary lengths."""
    torch.manual_seed(0)
    conditions = {"label": Tokens(classes, (1,))} if classes else {}
    space = TokenSequence(5, context, START, END)
    model = MaskedDiffusionSequence(space, conditions, Options(width=32, layers=2)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    model.lengths.fit(torch.arange(context) + 1, 6.0)
    return model


def rows(*items: list[int], width: int = 0) -> Tensor:
    """Whole items: start, tokens, end, and more ends."""
    width = max(width, *(len(item) + 2 for item in items))
    return torch.tensor([[START, *item, *[END] * (width - 1 - len(item))] for item in items])


def prompts(*items: list[int], width: int = 8) -> Partial:
    x = rows(*items, width=width)
    return Partial(x, torch.arange(x.shape[1]) <= torch.tensor([[len(item)] for item in items]))


def sample(
    model: MaskedDiffusionSequence, given: Partial | None, seed: int = 0, count: int = 0, **controls: Any
) -> Tensor:
    noise = Noise.consecutive(seed, count or len(given.x))  # type: ignore[union-attr]
    condition = controls.pop("condition", {})
    *_, draft = model.generate(Request(noise, condition, given=given), SequenceControls(**controls))
    assert draft.known.all()
    return draft.x


def texts(x: Tensor) -> list[list[int]]:
    return [list(itertools.takewhile(lambda token: token != END, row[1:])) for row in x.tolist()]


def test_lengths_are_those_counted_and_beyond_fall_geometrically() -> None:
    lengths = Lengths(5)
    lengths.fit(torch.tensor([0, 3, 0, 5, 2]), 2.0)
    sizes = torch.arange(200)
    p = lengths.log_probability(sizes, torch.ones(200, dtype=torch.bool)).exp()
    assert p.sum().item() == pytest.approx(1)
    assert p[:4].tolist() == pytest.approx([0.0002, 0.3, 0.0002, 0.5], abs=1e-3)
    assert (p[4:] * (sizes[4:] - 4)).sum().item() / p[4:].sum().item() == pytest.approx(2, rel=1e-3)
    at_least = lengths.log_probability(sizes[:20], torch.zeros(20, dtype=torch.bool)).exp()
    torch.testing.assert_close(at_least, p.flip(0).cumsum(0).flip(0)[:20], rtol=1e-4, atol=1e-6)
    for least in (0, 2, 6):
        samples = lengths.sample(torch.full((4000,), least), Noise.consecutive(0, 4000))
        assert samples.min() >= least
        frequency = samples.bincount(minlength=200)[:200] / 4000
        expected = p.where(sizes >= least, 0.0) / p[least:].sum()
        assert (frequency - expected).abs().max() < 0.03


def test_initialisation_counts_lengths_and_tokens() -> None:
    model = random_model()
    packed = [
        [START, 0, END, START, 1, 2, END, END],  # lengths 1 and 2, and padding
        [START, 0, 0, 0, 0, 0, 0, 0],  # goes on
        [1, 1, 1, 1, 1, 1, 1, 1],  # its middle
        [1, 1, 1, 1, 1, 2, 2, END],  # and its last window
    ]
    model.initialize("model", [Batch(torch.tensor(packed))])
    lengths = model.lengths
    assert lengths.probabilities.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 0, 0, 0, 0, 1 / 3], abs=2e-3)
    assert lengths.excess.item() == pytest.approx((2 * 4 + 1) / 2)
    p = model.network.head.bias[:3].exp()
    assert (p / p.sum()).tolist() == pytest.approx([9 / 28, 15 / 28, 4 / 28], abs=1e-5)


def test_items_of_one_row_do_not_see_each_other() -> None:
    model = random_model(12)
    items = [[0, 1], [2, 2, 1, 0]]
    packed = torch.tensor([[START, 0, 1, END, START, 2, 2, 1, 0, END, END, END]])
    item, modelled = model.items(packed)
    assert item.tolist() == [[1] * 4 + [2] * 6 + [-1] * 2]
    assert modelled.nonzero()[:, 1].tolist() == [1, 2, 5, 6, 7, 8]
    torch.manual_seed(1)
    with torch.no_grad():
        together = torch.stack([model(Batch(packed)).total for _ in range(600)])
    seeds = 400
    nats = [
        -model.log_likelihood(Batch(rows(one).repeat(seeds, 1)), Noise.consecutive(0, seeds)).mean()
        + model.lengths.log_probability(torch.tensor([len(one)]), torch.tensor([True]))[0]
        for one in items
    ]
    assert abs(together.mean() - sum(nats) / 6) < 5 * together.std() / math.sqrt(600) + 0.005


def test_padding_and_other_items_change_nothing() -> None:
    model = random_model(12)
    alone = rows([2, 2, 1, 0])
    packed = torch.tensor([[START, 0, 1, END, *alone[0].tolist(), END, END]])
    hole = torch.zeros_like(packed, dtype=torch.bool)
    hole[:, [1, 5, 7]] = True

    with torch.no_grad():
        condition = torch.zeros(1, 32)
        mixed = model.network.read(packed, hole, condition, model.items(packed)[0])[:, 4:10]
        expected = model.network.read(alone, hole[:, 4:10], condition, None)
    torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-4)


def test_the_bound_of_all_sequences_is_below_a_probability() -> None:
    """That of each item is at most ln p, so that their sum is at most the probability of the length."""
    model = random_model()
    words = [list(word) for n in range(4) for word in itertools.product(range(3), repeat=n)]
    seeds = 100
    x = rows(*words).repeat_interleave(seeds, 0)
    bound = model.log_likelihood(Batch(x), Noise.consecutive(0, len(x))).reshape(-1, seeds).mean(1)
    lengths = torch.tensor([len(word) for word in words])
    allowed = model.lengths.log_probability(torch.arange(4), torch.ones(4, dtype=torch.bool)).exp()
    for n in range(4):
        total = bound[lengths == n].exp().sum()
        assert 0.5 * allowed[n] < total < 1.03 * allowed[n]
    assert bound[0].item() == pytest.approx(
        allowed[0].log().item(), abs=1e-5
    )  # an empty item is nothing but its length


def test_windows_begin_before_the_unread_tokens_and_the_last_one_is_full() -> None:
    unread = torch.zeros(3, 20, dtype=torch.bool)
    unread[0, 1:], unread[1, 9:], unread[2, 3:5] = True, True, True
    stop = torch.tensor([20, 11, 6])
    cells, inside = windows(unread, stop, 8)
    assert cells.shape == (3, 8)
    assert cells[:, 0].tolist() == [0, 3, 0]
    assert inside.sum(1).tolist() == [8, 8, 6]
    unread[0, :8] = False
    cells, inside = windows(unread[:1], stop[:1], 8)
    assert cells.tolist() == [list(range(4, 12))]
    for row in windows(unread, stop, 8)[0].tolist():
        assert len(set(row)) == len(row)


@pytest.mark.parametrize("context", [8, 9])
def test_a_long_item_has_a_bound_by_windows(context: int) -> None:
    """Alone or padded beside a longer one: the sum of the bounds of each window given the tokens before it."""
    model = random_model(context)
    x = torch.randint(0, 3, (1, 31), generator=torch.Generator().manual_seed(1))
    x[0, 0], x[0, -1] = START, END
    longer = torch.randint(0, 3, (1, 60), generator=torch.Generator().manual_seed(2))
    longer[0, 0], longer[0, -1] = START, END
    padded = torch.cat((x, torch.full((1, 29), END)), dim=1)
    alone = model.log_likelihood(Batch(x), Noise([9]))
    both = model.log_likelihood(Batch(torch.cat((padded, longer, padded))), Noise([9, 3, 9]))
    torch.testing.assert_close(both[[0, 2]], alone.repeat(2))
    seeds = 150
    bounds = model.log_likelihood(Batch(x.repeat(seeds, 1)), Noise.consecutive(0, seeds))
    expected = model.lengths.log_probability(torch.tensor([29]), torch.tensor([True]))[0].item()
    half, first, at = context // 2, 1, 0
    while first < 30:
        begin = max(0, min(first - half, 31 - context))
        scored = torch.zeros(seeds, context, dtype=torch.bool)
        scored[:, first - begin : min(context, 30 - begin)] = True
        window = x[:, begin : begin + context].repeat(seeds, 1)
        bound = model.network.bound(window, scored, None, torch.zeros(seeds, 32), Noise.consecutive(1000, seeds), at)
        expected -= bound.mean().item()
        first, at = begin + context, at + 1
    assert bounds.mean().item() == pytest.approx(
        expected, abs=5 * bounds.std().item() / math.sqrt(seeds) * math.sqrt(2)
    )


def test_free_samples_have_the_lengths_counted() -> None:
    model = random_model()
    samples = texts(sample(model, prompts(*[[]] * 3000)))
    counts = torch.tensor([len(one) for one in samples]).bincount(minlength=8)
    # Seven tokens are all that the context holds after a start: these have no end.
    expected = torch.arange(1.0, 9.0) / 36
    assert (counts / 3000 - expected).abs().max() < 0.03
    assert all(token < 3 for one in samples for token in one)
    assert texts(sample(model, None, count=3000)) == samples


def test_max_length_and_min_length() -> None:
    model = random_model()
    lengths = [len(one) for one in texts(sample(model, prompts(*[[0, 1]] * 300), max_length=4))]
    assert min(lengths) == 2
    assert max(lengths) == 6
    lengths = [len(one) for one in texts(sample(model, prompts(*[[0, 1]] * 300), min_length=3))]
    assert min(lengths) == 5
    assert max(lengths) == 9
    long = [len(one) for one in texts(sample(model, prompts(*[[]] * 300), max_length=40))]
    assert max(long) > 20
    assert 3 < sum(long) / 300 < 9
    model.space = dataclasses.replace(model.space, max_length=40)
    assert max(len(one) for one in texts(sample(model, prompts(*[[]] * 300)))) > 20


@pytest.mark.parametrize("context", [8, 9])
@pytest.mark.parametrize(
    "controls", [{}, {"guidance": 2.0, "order": "confidence"}, {"steps": 2, "order": "confidence"}]
)
def test_a_sequence_is_the_same_alone_and_beside_others(context: int, controls: dict[str, Any]) -> None:
    """With other lengths, and past the context."""
    model = random_model(context, classes=2)
    items: list[list[int]] = [[], [0, 1], [2] * 11, [1, 0, 2, 1, 1], [0] * 25]
    label = torch.tensor([[0], [1], [0], [1], [1]])
    controls = {"max_length": 30, **controls}
    together = texts(sample(model, prompts(*items, width=context), 5, condition={"label": label}, **controls))
    for number, item in enumerate(items):
        own_label = label[number : number + 1]
        alone = sample(model, prompts(item, width=context), 5 + number, condition={"label": own_label}, **controls)
        assert texts(alone) == [together[number]]
        assert together[number][: len(item)] == item
    assert len({len(row) - len(item) for row, item in zip(together, items, strict=True)}) > 1


def test_a_gap_has_the_probabilities_of_the_network() -> None:
    model = random_model()
    x = rows([0, 1, 2, 0, 1])
    known = torch.ones_like(x, dtype=torch.bool)
    known[0, 3] = False
    samples = sample(model, Partial(x.repeat(4000, 1), known.repeat(4000, 1)))
    assert torch.equal(samples[:, [0, 1, 2, 4, 5, 6]], x[:, [0, 1, 2, 4, 5, 6]].repeat(4000, 1))
    with torch.no_grad():
        p = model.network.logits(model.network.read(x, ~known, torch.zeros(1, 32), None)).softmax(-1)[0, 3]
    assert (samples[:, 3].bincount(minlength=5) / 4000 - p).abs().max() < 0.03
    assert p[[START, END]].sum() == 0


def test_gaps_of_a_long_item_far_apart() -> None:
    model = random_model()
    x = rows([0, 1, 2] * 9)
    known = torch.ones_like(x, dtype=torch.bool)
    known[0, 2:4] = False
    known[0, 20:27] = False
    filled = sample(model, Partial(x, known))
    assert torch.equal(filled[known], x[known])
    assert (filled[~known] < 3).all()
    # Without an end it may become longer than what is given, which stays.
    open_end = known.clone()
    open_end[0, -1] = False
    filled = sample(model, Partial(x.repeat(50, 1), open_end.repeat(50, 1)))
    assert torch.equal(filled[:, : x.shape[1]][open_end.expand(50, -1)], x[open_end].repeat(50))
    assert len({len(one) for one in texts(filled)}) > 1


def test_drafts_reveal_more_and_more() -> None:
    model = random_model()
    request = Request(Noise.consecutive(0, 2), given=prompts([0], [1, 1, 2]), drafts=True)
    drafts = [
        (draft.x.clone(), draft.known.sum(1)) for draft in model.generate(request, SequenceControls(max_length=14))
    ]
    for (_, before), (_, after) in itertools.pairwise(drafts):
        assert (after >= before).all()
        assert (after > before).any()
    assert drafts[0][0].shape == drafts[-1][0].shape


@pytest.mark.parametrize("packed", [True, False])
def test_it_learns_sequences(packed: bool) -> None:
    """That repeat: 0 1 2 0 1 2; completed from one known token."""
    torch.manual_seed(0)
    model = MaskedDiffusionSequence(TokenSequence(5, 16, START, END), {}, Options(width=32, layers=2))
    item = [[(number + shift) % 3 for number in range(6)] for shift in range(3)]
    line = [rows(item[shift])[0].tolist() + rows(item[(shift + 1) % 3])[0].tolist() for shift in range(3)]
    x = torch.tensor(line) if packed else rows(*item, width=16)
    model.initialize("model", [Batch(x)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(300):
        loss = model(Batch(x.repeat(8, 1))).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    given, known = rows(item[0]).repeat(40, 1), torch.zeros(40, 8, dtype=torch.bool)
    known[:, [0, 4, 7]] = True
    filled = texts(sample(model, Partial(given, known)))
    assert sum(one == item[0] for one in filled) >= 30
    free = texts(sample(model, prompts(*[[]] * 60, width=16)))
    assert sum(one in item for one in free) >= 40
    (nats,) = model.log_likelihood(Batch(rows(item[1])), Noise([0])).tolist()
    assert -2.5 < nats < -0.5  # one of three is −1.1


def test_token_constraints_are_refused() -> None:
    class Anything:
        def allowed(self) -> None: ...

        def advance(self, token: int) -> None: ...

        def limit(self, tokens: int) -> None: ...

        def fork(self) -> TokenConstraint:
            return self

    with pytest.raises(UserError, match="from left to right"):
        next(
            random_model().generate(
                Request(Noise.consecutive(0, 1), token_constraints=[[Anything()]]), SequenceControls()
            )
        )
