"""Grids of tokens against closed forms: likelihoods that sum to one, the cache, guidance, inpainting."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens
from morphogen.testing import check_model

from .options import TokensControls, TokensOptions
from .tokens import AutoregressiveTokens


def random_model(space: Tokens, inpaint_prob: float = 0.0, classes: int = 0) -> AutoregressiveTokens:
    """With random weights, so that no two tokens are alike."""
    torch.manual_seed(0)
    conditions = {"label": Tokens(classes, (1,))} if classes else {}
    options = TokensOptions(width=32, layers=2, inpaint_prob=inpaint_prob)
    model = AutoregressiveTokens(space, conditions, options).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def sample(model: AutoregressiveTokens, request: Request, **controls: Any) -> torch.Tensor:
    *_, draft = model.generate(request, TokensControls(**controls))
    return draft.x


@pytest.mark.parametrize("space", [Tokens(3, (2, 2)), Tokens(2, (1, 2, 2))])
def test_probabilities_of_all_items_sum_to_one(space: Tokens) -> None:
    items = torch.tensor(list(itertools.product(range(space.vocab), repeat=4))).reshape(-1, *space.size)
    nats = random_model(space).log_likelihood(Batch(items), Noise.consecutive(0, len(items)))
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert nats.std() > 0.1


def test_samples_have_the_frequencies_of_the_likelihood() -> None:
    model = random_model(Tokens(2, (3,)))
    items = torch.tensor(list(itertools.product(range(2), repeat=3)))
    expected = model.log_likelihood(Batch(items), Noise.consecutive(0, 8)).exp()
    x = sample(model, Request(Noise.consecutive(0, 4000)))
    frequency = (x @ torch.tensor([4, 2, 1])).bincount(minlength=8) / 4000
    assert (frequency - expected).abs().max() < 0.03


def test_the_first_prediction_is_the_frequency_of_tokens() -> None:
    torch.manual_seed(0)
    model = AutoregressiveTokens(Tokens(3, (50,)), {}, TokensOptions(width=32, layers=1))
    x = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 50 * 40, replacement=True).reshape(40, 50)
    model.initialize("model", [Batch(x)])
    p = x.flatten().bincount() / x.numel()
    assert model(Batch(x)).total.item() == pytest.approx(-(p * p.log()).sum().item(), rel=0.01)


def test_guidance_is_that_of_the_logits() -> None:
    model = random_model(Tokens(4, (1,)), classes=2)
    items, label = torch.arange(4).reshape(4, 1), torch.ones(4000, 1, dtype=torch.int64)
    conditional, unconditional = (
        model.log_likelihood(Batch(items, condition), Noise.consecutive(0, 4))
        for condition in ({"label": label[:4]}, {})
    )
    expected = (unconditional + 3 * (conditional - unconditional)).softmax(0)
    x = sample(model, Request(Noise.consecutive(0, 4000), {"label": label}), guidance=3.0)
    assert (x.flatten().bincount(minlength=4) / 4000 - expected).abs().max() < 0.03


def test_nucleus_and_top_k_leave_the_likeliest() -> None:
    model = random_model(Tokens(5, (6,)))
    greedy = sample(model, Request(Noise.consecutive(0, 3)), temperature=0.0)
    assert (greedy == greedy[0]).all()
    assert torch.equal(sample(model, Request(Noise.consecutive(0, 3)), top_k=1), greedy)
    assert torch.equal(sample(model, Request(Noise.consecutive(0, 3)), top_p=1e-6), greedy)


@pytest.mark.parametrize("lengths", [[5, 5, 5], [0, 3, 7]])
def test_a_beginning_stays_and_is_continued(lengths: list[int]) -> None:
    """With what the model itself would have sampled after such a beginning."""
    model = random_model(Tokens(4, (3, 3)))
    free = sample(model, Request(Noise.consecutive(0, 3)))
    known = torch.arange(9).reshape(3, 3) < torch.tensor(lengths).reshape(3, 1, 1)
    assert torch.equal(sample(model, Request(Noise.consecutive(0, 3), given=Partial(free, known))), free)
    other = (free + 1) % 4
    continued = sample(model, Request(Noise.consecutive(0, 3), given=Partial(other, known)))
    assert torch.equal(continued[known], other[known])


def test_tokens_after_a_gap_need_a_model_trained_to_inpaint() -> None:
    x, known = torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[True, False, False, True]])
    with pytest.raises(UserError, match=r"options\.inpaint-prob"):
        sample(random_model(Tokens(3, (4,))), Request(Noise.consecutive(0, 1), given=Partial(x, known)))


def test_a_model_trained_to_inpaint_sees_what_comes_after() -> None:
    model = random_model(Tokens(3, (4,)), inpaint_prob=0.5)
    known = torch.tensor([[False, False, False, True]])
    first = []
    for token in range(3):
        given = Partial(torch.full((300, 4), token), known)
        first.append((sample(model, Request(Noise.consecutive(0, 300), given=given))[:, 0]).bincount(minlength=3))
    assert (first[0] - first[1]).abs().max() > 15
    check_model(AutoregressiveTokens, {"width": 16, "inpaint_prob": 0.5}, steps=40, spaces=(Tokens(5, (4, 4)),))


def test_a_penalty_reads_the_tokens_so_far() -> None:
    x = sample(random_model(Tokens(5, (2, 2))), Request(Noise.consecutive(0, 20)), no_repeat_ngram=1).flatten(1)
    assert all(len(set(row)) == 4 for row in x.tolist())
    assert len(x.unique(dim=0)) > 5


def test_drafts_grow_line_by_line() -> None:
    model = random_model(Tokens(3, (2, 3)))
    known = [
        int(draft.known.expand(1, 2, 3).sum())
        for draft in model.generate(Request(Noise.consecutive(0, 1), drafts=True), TokensControls())
    ]
    assert known == [3, 6]
