"""The autoregressive model against closed forms: likelihoods that sum to one, the cache, guidance, filling in."""

from __future__ import annotations

import itertools

import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens
from morphogen.testing import check_model

from .model import Autoregressive
from .options import Controls, Options


def model(space: Tokens, fill: float = 0.0, classes: int = 0) -> Autoregressive:
    """With random weights, so that no two symbols are alike."""
    torch.manual_seed(0)
    conditions = {"label": Tokens(classes, (1,))} if classes else {}
    made = Autoregressive(space, conditions, Options(width=32, layers=2, fill=fill)).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def last(made: Autoregressive, request: Request, **controls: float) -> torch.Tensor:
    *_, draft = made.generate(request, Controls(**controls))
    return draft.x


@pytest.mark.parametrize("space", [Tokens(3, (2, 2)), Tokens((2, 3, 4), (3,)), Tokens(2, (1, 2, 2))])
def test_probabilities_of_all_items_sum_to_one(space: Tokens) -> None:
    alphabets = [space.vocab] * space.dimensions if isinstance(space.vocab, int) else space.vocab
    items = torch.tensor(list(itertools.product(*map(range, alphabets)))).reshape(-1, *space.size)
    nats = model(space).log_likelihood(Batch(items), Noise.count(0, len(items)))
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert nats.std() > 0.1


def test_what_follows_the_end_counts_for_nothing() -> None:
    made = model(Tokens(3, (4,), end=2))
    items = torch.tensor([[0, 2, 0, 1], [0, 2, 2, 2]])
    nats = made.log_likelihood(Batch(items), Noise.count(0, 2))
    assert nats[0] == nats[1]
    x = last(made, Request(Noise.count(0, 200)))
    ended = (x == 2).cumsum(1) > 0
    assert (x[ended] == 2).all()
    assert 0 < ended.float().mean() < 1


def test_samples_have_the_frequencies_of_the_likelihood() -> None:
    made = model(Tokens(2, (3,)))
    items = torch.tensor(list(itertools.product(range(2), repeat=3)))
    expected = made.log_likelihood(Batch(items), Noise.count(0, 8)).exp()
    x = last(made, Request(Noise.count(0, 4000)))
    found = (x @ torch.tensor([4, 2, 1])).bincount(minlength=8) / 4000
    assert (found - expected).abs().max() < 0.03


def test_the_first_guess_is_the_frequency_of_symbols() -> None:
    torch.manual_seed(0)
    made = Autoregressive(Tokens(3, (50,)), {}, Options(width=32, layers=1))
    x = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 50 * 40, replacement=True).reshape(40, 50)
    made.begin("model", [Batch(x)])
    p = x.flatten().bincount() / x.numel()
    assert made(Batch(x)).total.item() == pytest.approx(-(p * p.log()).sum().item(), rel=0.01)


def test_guidance_is_that_of_the_logits() -> None:
    made = model(Tokens(4, (1,)), classes=2)
    condition = {"label": torch.tensor([[1]])}
    items = torch.arange(4).reshape(4, 1)
    nats = [
        made.log_likelihood(Batch(items, given), Noise.count(0, 4))
        for given in ({"label": torch.ones(4, 1, dtype=torch.int64)}, {})
    ]
    expected = (nats[1] + 3 * (nats[0] - nats[1])).softmax(0)
    drawn = last(made, Request(Noise.count(0, 4000), {"label": condition["label"].expand(4000, 1)}), guidance=3.0)
    assert (drawn.flatten().bincount(minlength=4) / 4000 - expected).abs().max() < 0.03


def test_guidance_where_positions_have_alphabets_of_their_own() -> None:
    made = model(Tokens((2, 4, 3), (3,)), classes=2)
    request = Request(Noise.count(0, 200), {"label": torch.ones(200, 1, dtype=torch.int64)})
    x = last(made, request, guidance=2.0, temperature=9.0)
    assert (x < torch.tensor([2, 4, 3])).all()
    assert len(x.unique(dim=0)) > 5


def test_nucleus_and_top_k_leave_the_likeliest() -> None:
    made = model(Tokens(5, (6,)))
    greedy = last(made, Request(Noise.count(0, 3)), temperature=0.0)
    assert (greedy == greedy[0]).all()
    assert torch.equal(last(made, Request(Noise.count(0, 3)), top_k=1), greedy)
    assert torch.equal(last(made, Request(Noise.count(0, 3)), top_p=1e-6), greedy)


@pytest.mark.parametrize("lengths", [[5, 5, 5], [0, 3, 7]])
def test_a_beginning_is_kept_and_gone_on_from(lengths: list[int]) -> None:
    """What follows is what the model itself would have drawn had it begun so."""
    made = model(Tokens(4, (3, 3)))
    free = last(made, Request(Noise.count(0, 3)))
    known = torch.arange(9).reshape(3, 3) < torch.tensor(lengths).reshape(3, 1, 1)
    assert torch.equal(last(made, Request(Noise.count(0, 3), given=Partial(free, known))), free)
    other = (free + 1) % 4
    moved = last(made, Request(Noise.count(0, 3), given=Partial(other, known)))
    assert torch.equal(moved[known], other[known])


def test_given_after_a_gap_needs_a_model_trained_to_fill() -> None:
    x, known = torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[True, False, False, True]])
    with pytest.raises(UserError, match=r"options\.fill"):
        last(model(Tokens(3, (4,))), Request(Noise.count(0, 1), given=Partial(x, known)))


def test_a_model_trained_to_fill_sees_what_comes_after() -> None:
    made = model(Tokens(3, (4,)), fill=0.5)
    known = torch.tensor([[False, False, False, True]])
    first = []
    for symbol in range(3):
        given = Partial(torch.full((300, 4), symbol), known)
        first.append((last(made, Request(Noise.count(0, 300), given=given))[:, 0]).bincount(minlength=3))
    assert (first[0] - first[1]).abs().max() > 15
    check_model(Autoregressive, {"width": 32, "fill": 0.5}, steps=60)


def test_drafts_are_settled_row_by_row() -> None:
    made = model(Tokens(3, (2, 3)))
    known = [
        int(draft.known.expand(1, 2, 3).sum())
        for draft in made.generate(Request(Noise.count(0, 1), drafts=True), Controls())
    ]
    assert known == [3, 6]
