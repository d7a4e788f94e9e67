"""Diffusion of rows: the encoding of cells, samples of a network that knows the truth, and a planted joint."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Field, Row, Tokens

from .options import RowControls, RowOptions
from .row import RowDiffusion
from .row_encoding import RowEncoding

# A number of 200 cells, and two categories.
SPACE = Row((Field(200, ordered=200), Field(3), Field(4)))
JOINT = torch.tensor([[0.30, 0.02, 0.05, 0.01], [0.01, 0.20, 0.04, 0.02], [0.02, 0.03, 0.05, 0.25]])


def joint_counts(x: Tensor) -> np.ndarray:
    return np.bincount((4 * x[:, 1] + x[:, 2]).numpy(), minlength=12)


def test_cells_come_back_from_numbers_and_categories() -> None:
    """A number without and with special cells, a short number, a category, and a field with special cells only."""
    space = Row((Field(90, ordered=90), Field(43, ordered=40), Field(32, ordered=32), Field(7), Field(2, ordered=0)))
    encoding = RowEncoding(space)
    assert (encoding.numbers, encoding.categories, encoding.sizes) == ([0, 1], [1, 2, 3, 4], [4, 32, 7, 2])
    random = torch.Generator().manual_seed(0)
    x = torch.stack([torch.randint(field.size, (3000,), generator=random) for field in space.fields], dim=1)
    encoding.fit([Batch(x[:1000]), Batch(x[1000:])])
    numbers, categories = encoding.encode(x, torch.rand(3000, 2, generator=random))
    assert torch.equal(encoding.decode(numbers, categories), x)
    for column in numbers.unbind(1):  # special cells are noise of the same distribution
        assert stats.kstest(column.numpy(), "norm").pvalue > 0.01
    assert torch.equal(categories[:, 0], (x[:, 1] - 39).clamp(min=0))
    one_hot = encoding.one_hot(categories, torch.zeros(3000, 4, dtype=torch.bool))
    assert torch.equal(torch.stack([part.argmax(1) for part in one_hot.split([4, 32, 7, 2], dim=1)], dim=1), categories)


def test_unseen_cells_are_never_sampled_and_cost_nothing() -> None:
    space = Row((Field(50, ordered=48), Field(6)))
    x = torch.stack((torch.arange(96) % 48, torch.arange(96) % 2 + 2), dim=1)
    x[:10, 0] = 49
    torch.manual_seed(0)
    model = RowDiffusion(space, {}, RowOptions(width=16)).eval()
    model.initialize("model", [Batch(x)])
    sample = list(model.generate(Request(Noise.consecutive(0, 300)), RowControls(steps=4)))[-1].x
    assert set(sample[:, 1].tolist()) == {2, 3}
    assert 48 not in sample[:, 0]
    assert 49 in sample[:, 0]
    unseen = torch.tensor([[48, 0], [48, 5]])
    loss = model(Batch(unseen))
    assert loss.parts["category_nats"] == 0
    loss.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("solver", ["euler", "dpm_solver", "heun", "ancestral"])
def test_samples_follow_a_joint_that_the_network_knows(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network gives the data of a number N(0, 1) that is independent, and p(category | the other if visible)."""
    model = RowDiffusion(SPACE, {}, RowOptions(width=8, prediction="data")).eval()

    def evaluate(x: Tensor, visible: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = model.schedule.alpha(t), model.schedule.sigma(t)
        first, second = visible.split((3, 4), dim=1)
        p_first = torch.where(second.sum(1, keepdim=True) > 0, second @ JOINT.t(), JOINT.sum(1))
        p_second = torch.where(first.sum(1, keepdim=True) > 0, first @ JOINT, JOINT.sum(0))
        return x * alpha / (alpha**2 + sigma**2), torch.cat((p_first, p_second), dim=1).log()

    monkeypatch.setattr(model, "evaluate", evaluate)
    controls = RowControls(solver=solver, steps=100, spacing="uniform")
    *_, draft = model.generate(Request(Noise.consecutive(0, 8000)), controls)
    expected = 8000 * JOINT.double().flatten().numpy() / JOINT.double().sum().item()
    assert stats.chisquare(joint_counts(draft.x), expected).pvalue > 0.01
    # All cells of the untrained scale are as likely.
    assert stats.chisquare(np.bincount(draft.x[:, 0] // 5, minlength=40)).pvalue > 1e-3


def test_rows_of_categories_alone_need_no_number() -> None:
    torch.manual_seed(0)
    model = RowDiffusion(Row((Field(3), Field(5, ordered=5))), {}, RowOptions(width=16)).eval()
    for solver in ("dpm_solver", "adaptive"):
        *_, draft = model.generate(Request(Noise.consecutive(0, 20)), RowControls(solver=solver))
        assert len(draft.x.unique(dim=0)) > 5


def test_a_planted_joint_is_learned() -> None:
    torch.manual_seed(0)
    model = RowDiffusion(SPACE, {}, RowOptions(width=48))

    def batch(count: int) -> Batch:
        pair = torch.multinomial(JOINT.flatten(), count, replacement=True)
        number = (pair // 4 - 1) * 1.2 + 0.2 * torch.randn(count)
        return Batch(torch.stack(((100 + 40 * number).long().clamp(0, 199), pair // 4, pair % 4), dim=1))

    model.initialize("model", [batch(20_000)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(1200):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / 1200)
        optimiser.zero_grad()
        model(batch(256)).total.backward()
        optimiser.step()
    model.eval()
    *_, draft = model.generate(Request(Noise.consecutive(0, 6000)), RowControls(steps=30))
    assert (torch.as_tensor(joint_counts(draft.x) / 6000).reshape(3, 4) - JOINT).abs().sum() / 2 < 0.05
    for category in range(3):
        numbers = (draft.x[draft.x[:, 1] == category, 0].float() - 99.5) / 40
        # As quantiles the three clusters touch, so that a small error of a number is a jump to the next cluster.
        inside = numbers[(numbers - (category - 1) * 1.2).abs() < 0.6]
        assert len(inside) > 0.9 * len(numbers)  # if independent: .27 to .38
        assert inside.mean().item() == pytest.approx((category - 1) * 1.2, abs=0.03)
        assert inside.std().item() == pytest.approx(0.2, abs=0.04)


def test_conditions_are_refused() -> None:
    with pytest.raises(UserError, match="takes no condition, and 'label' was given"):
        RowDiffusion(SPACE, {"label": Tokens(3, (1,))}, RowOptions(width=8))
