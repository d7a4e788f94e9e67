"""Masked diffusion of grids against closed forms: all orders enumerated, the bound, sample frequencies, inpainting."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from morphogen.core.model import Batch, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens
from morphogen.testing import check_model

from .masks import random_mask
from .options import Options, TokensControls
from .tokens import MaskedDiffusionTokens

ONE_BY_ONE = {"steps": 100, "guidance": 1.0}


def random_model(space: Tokens, classes: int = 0) -> MaskedDiffusionTokens:
    """With random weights, so that no two tokens are alike."""
    torch.manual_seed(0)
    conditions = {"label": Tokens(classes, (1,))} if classes else {}
    model = MaskedDiffusionTokens(space, conditions, Options(width=32, layers=2)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def sample(model: MaskedDiffusionTokens, request: Request, **controls: Any) -> Tensor:
    *_, draft = model.generate(request, TokensControls(**controls))
    assert draft.known.all()
    return draft.x


def items_of(space: Tokens) -> Tensor:
    return torch.tensor(list(itertools.product(range(space.vocab), repeat=space.dimensions)))


def nats(model: MaskedDiffusionTokens, x: Tensor, masked: list[int]) -> Tensor:
    """−ln p of each masked token, from the network's own logits, `(B, n)`."""
    hole = torch.zeros_like(x, dtype=torch.bool)
    hole[:, masked] = True
    with torch.no_grad():
        p = model.network.logits(model.network.read(x, hole, torch.zeros(len(x), 32), None)).softmax(-1)
    return -p.gather(2, x[:, :, None]).squeeze(2).log() * hole


def of_orders(model: MaskedDiffusionTokens, x: Tensor) -> Tensor:
    """ln p of items whose tokens are revealed one by one, for each order, `(orders, B)`."""
    n = x.shape[1]
    return torch.stack(
        [
            -sum(nats(model, x, list(order[at:]))[:, order[at]] for at in range(n))  # type: ignore[misc]
            for order in itertools.permutations(range(n))
        ]
    )


def by_integral(model: MaskedDiffusionTokens, x: Tensor) -> Tensor:
    """∫ 1/t E[Σ −ln p] dt, each token masked with probability t: ∫ t^(k−1) (1−t)^(n−k) dt is 1 / (k C(n, k))."""
    n = x.shape[1]
    return torch.stack(
        [
            nats(model, x, list(subset)).sum(1) / (k * math.comb(n, k))
            for k in range(1, n + 1)
            for subset in itertools.combinations(range(n), k)
        ]
    ).sum(0)


def mean_bound(model: MaskedDiffusionTokens, x: Tensor, seeds: int = 200) -> tuple[Tensor, Tensor]:
    """The mean bound of each item over so many seeds, and its standard error."""
    many = x.repeat_interleave(seeds, 0)
    bound = model.log_likelihood(Batch(many), Noise.consecutive(0, len(many))).reshape(len(x), seeds)
    return bound.mean(1), bound.std(1) / math.sqrt(seeds)


SPACES = [Tokens(3, (3,)), Tokens(2, (1, 2, 2))]


@pytest.mark.parametrize("space", SPACES)
def test_the_bound_is_the_mean_over_orders_and_below_the_likelihood(space: Tokens) -> None:
    model = random_model(space)
    x = items_of(space)
    orders = of_orders(model, x)
    likelihood = orders.exp().mean(0)
    assert likelihood.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(by_integral(model, x), -orders.mean(0), rtol=1e-4, atol=1e-4)
    bound, error = mean_bound(model, x.reshape(-1, *space.size))
    assert ((bound - orders.mean(0)).abs() < 4.5 * error + 1e-5).all()
    assert (orders.mean(0) <= likelihood.log()).all()
    assert (likelihood.log() - orders.mean(0)).max() > 0.01


def test_the_loss_is_the_bound_per_token() -> None:
    space = Tokens(3, (3,))
    model = random_model(space)
    x = items_of(space)[:5]
    with torch.no_grad():
        losses = torch.stack([model(Batch(x.repeat(40, 1))).total for _ in range(40)])
    expected = by_integral(model, x).mean() / 3
    assert abs(losses.mean() - expected) < 4 * losses.std() / math.sqrt(40)


def test_as_many_tokens_of_each_item_are_masked_as_its_share() -> None:
    item = torch.tensor([[0, 0, 0, 0, 1, 1, 1, -1], [0] * 8])
    modelled = torch.tensor([[False, True, True, True, False, True, True, False], [True] * 8])
    t = torch.tensor([[0.5] * 4 + [0.99] * 4, [0.0] * 8])
    mask_counts = torch.zeros(2, 8)
    for _ in range(300):
        masked, weight = random_mask(item, modelled, t, torch.rand(2, 8))
        assert not masked[~modelled].any()
        assert masked[0, :4].sum() == 2
        assert masked[0, 4:].sum() == 2
        assert masked[1].sum() == 1
        assert weight[0, :4].tolist() == [1.5] * 4
        assert weight[1].tolist() == [8.0] * 8
        mask_counts += masked
    assert (mask_counts[0, 1:4] / 300 - 2 / 3).abs().max() < 0.12
    assert (mask_counts[1] / 300 - 1 / 8).abs().max() < 0.1


@pytest.mark.parametrize("space", SPACES)
def test_samples_have_the_frequencies_of_all_orders(space: Tokens) -> None:
    model = random_model(space)
    x = items_of(space)
    expected = of_orders(model, x).exp().mean(0)
    samples = sample(model, Request(Noise.consecutive(0, 5000)), **ONE_BY_ONE).flatten(1)
    frequency = (samples[:, None] == x).all(2).float().mean(0)
    assert frequency.sum() == pytest.approx(1)
    assert (frequency - expected).abs().max() < 0.025


def test_tokens_of_one_step_are_independent() -> None:
    space = Tokens(2, (3,))
    model = random_model(space)
    x = items_of(space)
    expected = (-nats(model, x, [0, 1, 2])).sum(1).exp()
    samples = sample(model, Request(Noise.consecutive(0, 5000)), steps=1)
    frequency = (samples[:, None] == x).all(2).float().mean(0)
    assert (frequency - expected).abs().max() < 0.025


def test_by_confidence_the_most_certain_place_comes_first_and_its_token_is_still_sampled() -> None:
    space = Tokens(3, (4,))
    model = random_model(space)
    with torch.no_grad():
        model.network.head.weight *= 0.3  # no token is all but certain
        nothing = torch.zeros(1, 4, dtype=torch.int64)
        hidden = model.network.read(nothing, torch.ones(1, 4).bool(), torch.zeros(1, 32), None)
        p = model.network.logits(hidden).softmax(-1)[0]
    surest = int(p.amax(-1).argmax())
    assert p[surest].max() < 0.98
    assert p.amax(-1).sort().values.diff()[-1] > 0.01
    drafts = model.generate(
        Request(Noise.consecutive(0, 4000), drafts=True), TokensControls(order="confidence", choice_temperature=0.0)
    )
    first = next(iter(drafts))
    assert first.known.sum(1).eq(1).all()
    assert first.known[:, surest].all()
    frequency = first.x[:, surest].bincount(minlength=3) / 4000
    assert (frequency - p[surest]).abs().max() < 0.03


def test_an_order_of_high_temperature_is_random() -> None:
    model = random_model(Tokens(3, (4,)))
    request = Request(Noise.consecutive(0, 50))
    noisy = sample(model, request, order="confidence", choice_temperature=1e6)
    assert torch.equal(noisy, sample(model, request))


@pytest.mark.parametrize("steps", [1, 3, 7, 12, 100])
def test_each_step_reveals_its_share(steps: int) -> None:
    model = random_model(Tokens(3, (3, 4)))
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    model.network.transformer.register_forward_hook(count)
    drafts = model.generate(Request(Noise.consecutive(0, 2), drafts=True), TokensControls(steps=steps))
    known = [int(draft.known[0].sum()) for draft in drafts]
    expected_steps = min(steps, 12)
    assert calls == expected_steps
    assert known == [(step + 1) * 12 // expected_steps for step in range(expected_steps)]


@pytest.mark.parametrize(("order", "choice_temperature"), [("random", 1.0), ("confidence", 0.0), ("confidence", 1.0)])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_sample_is_the_same_alone_and_beside_others(order: str, guidance: float, choice_temperature: float) -> None:
    """Which have other given tokens, and so take other steps."""
    model = random_model(Tokens(4, (6,)), classes=2)
    x = torch.tensor([[1, 1, 2, 3, 3, 0]]).repeat(5, 1)
    known = torch.arange(6) < torch.tensor([[0], [6], [2], [5], [3]])
    known[3] = torch.tensor([False, True, False, True, True, False])
    label = torch.tensor([[0], [1], [0], [1], [1]])
    controls = {"order": order, "guidance": guidance, "steps": 3, "choice_temperature": choice_temperature}
    request = Request(Noise.consecutive(3, 5), {"label": label}, given=Partial(x, known))
    together = sample(model, request, **controls)
    assert torch.equal(together[known], x[known])
    for row in range(5):
        part = slice(row, row + 1)
        alone = Request(Noise.consecutive(3 + row, 1), {"label": label[part]}, given=Partial(x[part], known[part]))
        assert torch.equal(sample(model, alone, **controls), together[part])


def test_a_single_gap_has_the_probabilities_of_the_network() -> None:
    model = random_model(Tokens(3, (4,)))
    x = torch.tensor([[2, 0, 1, 2]])
    known = torch.tensor([[True, False, True, True]])
    samples = sample(model, Request(Noise.consecutive(0, 4000), given=Partial(x.expand(4000, 4), known)))
    candidates = x.repeat(3, 1)
    candidates[:, 1] = torch.arange(3)
    expected = (-nats(model, candidates, [1])).sum(1).exp()
    assert (samples[:, 1].bincount(minlength=3) / 4000 - expected).abs().max() < 0.03
    assert (samples[:, [0, 2, 3]] == x[:, [0, 2, 3]]).all()


def test_guidance_is_that_of_the_logits() -> None:
    model = random_model(Tokens(4, (1,)), classes=2)
    label = torch.ones(4000, 1, dtype=torch.int64)
    x = torch.arange(4).reshape(4, 1)
    conditional, unconditional = (
        model.log_likelihood(Batch(x, condition), Noise.consecutive(0, 4)) for condition in ({"label": label[:4]}, {})
    )
    expected = (unconditional + 3 * (conditional - unconditional)).softmax(0)
    samples = sample(model, Request(Noise.consecutive(0, 4000), {"label": label}), guidance=3.0)
    assert (samples.flatten().bincount(minlength=4) / 4000 - expected).abs().max() < 0.03


def test_top_k_and_temperature_leave_the_likeliest() -> None:
    model = random_model(Tokens(5, (6,)))
    request = Request(Noise.consecutive(0, 3))
    greedy = sample(model, request, temperature=0.0)
    assert torch.equal(sample(model, request, top_k=1), greedy)
    assert torch.equal(sample(model, request, top_p=1e-6), greedy)


def test_a_visible_token_costs_nothing_and_a_masked_one_is_not_read() -> None:
    model = random_model(Tokens(3, (4,)))
    x = torch.tensor([[0, 1, 2, 0], [0, 2, 2, 0]])
    hole = torch.tensor([[False, True, False, True]]).expand(2, 4)
    with torch.no_grad():
        logits = model.network.logits(model.network.read(x, hole, torch.zeros(2, 32), None))
        each = model.network.nats(x, hole, torch.zeros(2, 32), None)
    assert torch.equal(logits[0], logits[1])
    assert (each[:, [0, 2]] == 0).all()
    assert (each[:, [1, 3]] > 0).all()
    assert logits.shape[-1] == 3  # the mask is never predicted


def test_the_first_prediction_is_the_frequency_of_tokens() -> None:
    torch.manual_seed(0)
    model = MaskedDiffusionTokens(Tokens(3, (50,)), {}, Options(width=32, layers=1))
    x = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 50 * 400, replacement=True).reshape(400, 50)
    model.initialize("model", [Batch(x)])
    p = x.flatten().bincount() / x.numel()
    entropy = -(p * p.log()).sum().item()
    assert model(Batch(x)).total.item() == pytest.approx(entropy, rel=0.03)


def test_the_bound_of_an_item_does_not_depend_on_the_others() -> None:
    model = random_model(Tokens(3, (5,)))
    x = torch.randint(0, 3, (4, 5), generator=torch.Generator().manual_seed(0))
    together = model.log_likelihood(Batch(x), Noise.consecutive(5, 4))
    for row in range(4):
        alone = model.log_likelihood(Batch(x[row : row + 1]), Noise.consecutive(5 + row, 1))
        torch.testing.assert_close(alone, together[row : row + 1])


def test_by_confidence_the_contract_holds() -> None:
    controls = {"order": "confidence", "steps": 3}
    check_model(MaskedDiffusionTokens, {"width": 16}, controls=controls, steps=40, spaces=(Tokens(5, (4, 4)),))
