"""Losses and penalties against closed forms, augmentation, and distributions that training reaches."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Tokens
from morphogen.nn.gan_losses import critic_loss, generator_loss, gradient_penalty, squared_gradient
from morphogen.testing import check_model

from .augment import augment
from .grid import GridGAN
from .options import Controls, Options

R, G = torch.tensor([1.5, -0.3]), torch.tensor([-0.2, 0.4])


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        ("relativistic", lambda r, f: math.log(1 + math.exp(f - r)), lambda r, f: math.log(1 + math.exp(r - f))),
        (
            "nonsaturating",
            lambda r, f: math.log(1 + math.exp(f)) + math.log(1 + math.exp(-r)),
            lambda r, f: math.log(1 + math.exp(-f)),
        ),
        ("hinge", lambda r, f: max(0, 1 + f) + max(0, 1 - r), lambda r, f: -f),
        ("wasserstein", lambda r, f: f - r, lambda r, f: -f),
    ],
)
def test_losses(name: str, critic: object, generator: object) -> None:
    pairs = list(zip(R.tolist(), G.tolist(), strict=True))
    assert critic_loss(name, R, G).item() == pytest.approx(sum(critic(r, f) for r, f in pairs) / 2)  # type: ignore
    assert generator_loss(name, R, G).item() == pytest.approx(sum(generator(r, f) for r, f in pairs) / 2)  # type: ignore


def test_squared_gradient_of_a_quadratic_and_its_own_gradient() -> None:
    """D = ½ xᵀ A x with A symmetric: ∇D = A x, and d|A x|²/dA = 2 A x xᵀ, made symmetric."""
    torch.manual_seed(0)
    half = torch.randn(4, 4, dtype=torch.float64)
    a = (half + half.T).requires_grad_()
    x = torch.randn(5, 4, dtype=torch.float64)

    def critic(x: Tensor) -> Tensor:
        return 0.5 * (x @ a * x).sum(1)

    squared = squared_gradient(critic, x)
    with torch.no_grad():
        expected = (x @ (a + a.T) / 2).square().sum(1)
    torch.testing.assert_close(squared.detach(), expected)
    (slope,) = torch.autograd.grad(squared.sum(), a)
    direct = torch.autograd.functional.jacobian(lambda m: (x @ (m + m.T) / 2).square().sum(), a.detach())
    torch.testing.assert_close(slope, direct)


def test_the_gradient_penalty_of_a_linear_critic() -> None:
    w = torch.tensor([3.0, 4.0])
    penalty = gradient_penalty(lambda x: x @ w, torch.randn(6, 2), torch.randn(6, 2))
    torch.testing.assert_close(penalty, torch.full((6,), 16.0))


def test_the_penalty_of_a_model_is_that_of_its_critic() -> None:
    torch.manual_seed(0)
    options = Options(width=16, gamma=0.7, penalty_every=3, augment=0.0)
    model = GridGAN(Grid(1, (8, 8)), {}, options)
    x = torch.randn(6, 1, 8, 8)
    torch.manual_seed(1)
    loss = model(Batch(x), "penalty")
    torch.manual_seed(1)
    z = torch.randn(6, options.latent_channels)
    total = torch.zeros(())
    for item in (x, model.generator(z, {}).detach()):
        for one in item:
            gradient = torch.autograd.functional.jacobian(lambda v: model.critic(v[None], {})[0], one)
            total += gradient.square().sum() / 6
    assert loss.total.item() == pytest.approx(3 * 0.7 / 2 * total.item(), rel=1e-4)


@pytest.mark.parametrize("shape", [(3,), (2, 20), (1, 16, 16), (1, 4, 8, 8)])
def test_augmentation_changes_items_with_its_probability_and_is_differentiable(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = (1 + torch.rand(400, *shape)).requires_grad_()
    assert torch.equal(augment(x, torch.tensor(0.0)), x)
    changed_share = (augment(x, torch.tensor(0.5)) != x).flatten(1).any(1).float().mean().item()
    independent = 1 if len(shape) == 1 else 3
    assert changed_share == pytest.approx(1 - 0.5**independent, abs=0.12)  # a shift by nothing changes nothing
    augment(x, torch.tensor(1.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_shifts_and_boxes_have_the_declared_sizes() -> None:
    from .augment import _cut, _shift

    torch.manual_seed(0)
    always = torch.ones(200, 1, 1, 1, dtype=torch.bool)
    x = torch.zeros(200, 1, 16, 16)
    x[:, :, 8, 8] = 1
    shifted = _shift(x, always).flatten(1)
    assert (shifted.sum(1) == 1).all()
    rows, columns = shifted.argmax(1) // 16 - 8, shifted.argmax(1) % 16 - 8
    assert set(rows.tolist()) == set(columns.tolist()) == {-2, -1, 0, 1, 2}
    blanked = (_cut(torch.ones(200, 1, 16, 16), always) == 0).float().flatten(1).sum(1)
    assert blanked.max() == 64
    assert blanked.min() >= 16


def test_augmentation_follows_the_critic() -> None:
    model = GridGAN(Grid(2), {}, Options(width=16))
    for step in range(20):
        model.on_step_end((step + 1) / 100, 1 + step, {"critic_accuracy": 0.95})
        assert (model.augmented.item() > 0) == (step >= 10), "not in the first ten epochs"
    assert model.augmented.item() == pytest.approx(0.4, abs=1e-5)
    for step in range(20, 25):
        model.on_step_end((step + 1) / 100, 1 + step, {"critic_accuracy": 0.6})
    assert model.augmented.item() == pytest.approx(0.2, abs=1e-5)


def train(model: GridGAN, data: Batch, *, steps: int, rate: float) -> None:
    """Train as the loop does: phases in turn, a rate that falls to 0, and an averaged generator at the end."""
    model.initialize("critic", [data])
    parts = {name: model.get_submodule(name) for name in ("critic", "generator")}
    optimisers = {name: torch.optim.AdamW(part.parameters(), betas=(0.0, 0.99)) for name, part in parts.items()}
    average = {name: p.detach().clone() for name, p in model.generator.named_parameters()}
    for step in range(steps):
        index = torch.randint(0, len(data.x), (128,))
        batch = Batch(data.x[index], {name: value[index] for name, value in data.condition.items()})
        losses: dict[str, float] = {}
        for phase in model.phases():
            if step % phase.every == 0:
                optimisers[phase.module].param_groups[0]["lr"] = rate * (1 - step / steps)
                model.zero_grad(set_to_none=True)
                loss = model(batch, phase.name)
                loss.total.backward()
                optimisers[phase.module].step()
                losses |= {name: float(value) for name, value in loss.parts.items()}
        model.on_step_end((step + 1) / steps, (step + 1) * 128 / len(data.x), losses)
        for name, parameter in model.generator.named_parameters():
            average[name].lerp_(parameter.detach(), 0.02)
    model.generator.load_state_dict(average, strict=False)
    model.eval()


@pytest.mark.parametrize("loss", ["relativistic", "nonsaturating", "hinge"])
def test_training_learns_a_gaussian_of_each_class(loss: str) -> None:
    torch.manual_seed(0)
    options = Options(width=32, latent_channels=4, loss=loss)
    model = GridGAN(Grid(2), {"label": Tokens(2, (1,))}, options)
    label = torch.randint(0, 2, (4096, 1))
    x = torch.where(label == 1, torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0])) + 0.5 * torch.randn(4096, 2)
    train(model, Batch(x, {"label": label}), steps=500, rate=2e-3)
    for class_index, centre in ((0, -2.0), (1, 2.0)):
        condition = {"label": torch.full((2000, 1), class_index)}
        *_, draft = model.generate(Request(Noise.consecutive(0, 2000), condition), Controls())
        assert draft.x.mean(0).tolist() == pytest.approx([centre, 0.0], abs=0.3)
        assert draft.x.std(0).tolist() == pytest.approx([0.5, 0.5], abs=0.2)
    *_, draft = model.generate(Request(Noise.consecutive(0, 2000)), Controls())  # without a class: both
    assert (draft.x[:, 0] > 0).float().mean().item() == pytest.approx(0.5, abs=0.25)
    assert draft.x.std(0)[0] > 1.5


def test_wasserstein_training_learns_a_gaussian() -> None:
    torch.manual_seed(0)
    options = Options(width=32, latent_channels=4, loss="wasserstein", gamma=0.1)
    model = GridGAN(Grid(2), {}, options)
    deviation = torch.tensor([0.5, 2.0])
    x = torch.tensor([2.0, 0.0]) + deviation * torch.randn(4096, 2)
    train(model, Batch(x), steps=900, rate=3e-3)
    *_, draft = model.generate(Request(Noise.consecutive(0, 2000)), Controls())
    assert ((draft.x.mean(0) - x.mean(0)) / deviation).abs().max() < 0.3
    assert (draft.x.std(0) / deviation - 1).abs().max() < 0.25


def test_adaptive_gamma_follows_the_critic_in_the_first_quarter() -> None:
    model = GridGAN(Grid(2), {}, Options(width=16))
    start = model.gamma.item()
    for step in range(10):
        model.on_step_end((step + 1) / 100, 1.0, {"critic_accuracy": 0.94})
    assert model.gamma.item() == pytest.approx(start * math.exp(75 * 0.1 * 0.1), rel=1e-4)
    for step in range(10, 20):
        model.on_step_end((step + 1) / 100, 1.0, {"critic_accuracy": 0.74})
    assert model.gamma.item() == pytest.approx(start, rel=1e-4)
    model.on_step_end(0.25, 1.0, {"critic_accuracy": 1.0})
    assert model.gamma.item() == pytest.approx(start, rel=1e-4)
    fixed = GridGAN(Grid(2), {}, Options(width=16, gamma=0.5))
    fixed.on_step_end(0.1, 1.0, {"critic_accuracy": 1.0})
    assert fixed.gamma.item() == 0.5


def test_truncation_brings_samples_together() -> None:
    torch.manual_seed(0)
    model = GridGAN(Grid(1, (8, 8)), {}, Options(width=16)).eval()
    spread = []
    for truncation in (0.0, 0.5, 1.0):
        *_, draft = model.generate(Request(Noise.consecutive(0, 50)), Controls(truncation=truncation))
        spread.append(draft.x.std(0).mean().item())
    assert spread[0] == pytest.approx(0, abs=1e-6)
    assert spread[0] < spread[1] < spread[2]


def test_the_classic_network_keeps_the_contract() -> None:
    options = {"width": 16, "network": "dcgan", "loss": "nonsaturating"}
    check_model(GridGAN, options, spaces=(Grid(4), Grid(1, (8, 8))), steps=20)


@pytest.mark.parametrize(("channels", "size"), [(1, (3, 3)), (4, (5, 9)), (3, (1, 1)), (2, (30, 17)), (1, (3, 5, 6))])
def test_any_channels_and_size(channels: int, size: tuple[int, ...]) -> None:
    model = GridGAN(Grid(channels, size), {}, Options(width=8))
    x = torch.randn(2, channels, *size)
    for phase in model.phases():
        assert F.relu(model(Batch(x), phase.name).total).isfinite()
