"""Diffusion of grids against closed forms: the likelihood of a Gaussian, and what training on one learns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Partial, Prediction, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Space, Tokens
from morphogen.nn.augmentation import Augmentation, random_augmentation
from morphogen.sampling.likelihood import ode_log_likelihood
from morphogen.sampling.schedule import SCHEDULES, ScheduleName

from . import grid
from .grid import GridDiffusion
from .options import GridControls, GridOptions


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_ode_likelihood_of_a_gaussian(name: ScheduleName) -> None:
    """Data N(0, diag(s²)), whose denoiser is known; Hutchinson's estimate is exact where the Jacobian is diagonal.

    Also N(0, I) in 1000 dimensions at the default number of steps: errors of each dimension would add up.
    """
    schedule = SCHEDULES[name]()
    problems = ((torch.tensor([1.2, 0.8], dtype=torch.float64), 200, 0.02), (torch.ones(1000).double(), 32, 0.05))
    for deviations, steps, tolerance in problems:

        def predict(x: Tensor, t: Tensor, deviations: Tensor = deviations) -> Prediction:
            alpha, sigma = schedule.alpha(t.double()), schedule.sigma(t.double())
            variance = alpha.square() * deviations.square() + sigma.square()
            return Prediction(alpha * deviations.square() / variance * x, sigma / variance * x)

        x = torch.randn(6, len(deviations), dtype=torch.float64) * deviations
        times = schedule.karras_times(steps, 0.002, 80.0)
        nats = ode_log_likelihood(schedule, predict, x, times, Noise.consecutive(0, 6))
        expected = stats.norm.logpdf(x.numpy(), 0, deviations.numpy()).sum(1)
        np.testing.assert_allclose(nats.numpy(), expected, atol=tolerance)


def test_training_on_a_gaussian_learns_its_mean_and_deviation() -> None:
    torch.manual_seed(0)
    data = torch.tensor([3.0, -1.0]) + torch.tensor([0.5, 2.0]) * torch.randn(4096, 2)
    model = GridDiffusion(Grid(2), {}, GridOptions(width=32, blocks=(2,)))
    model.initialize("model", [Batch(data)])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 400)
        loss = model(Batch(data[torch.randint(0, 4096, (256,))])).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    *_, draft = model.generate(Request(Noise.consecutive(0, 2000)), GridControls())
    assert draft.x.mean(0).tolist() == pytest.approx([3.0, -1.0], abs=0.15)
    assert draft.x.std(0).tolist() == pytest.approx([0.5, 2.0], rel=0.15)


def test_bits_of_the_raw_values_do_not_depend_on_how_data_are_scaled() -> None:
    """The same untrained model on grids twice as fine has one more nat times ln 2 per dimension."""
    torch.manual_seed(0)
    x = torch.randn(4, 3).clamp(-1, 1)
    nats = []
    for step in (0.02, 0.01):
        torch.manual_seed(1)
        model = GridDiffusion(Grid(3, step=step), {}, GridOptions(width=16, blocks=(1,))).eval()
        nats.append(model.log_likelihood(Batch(x), Noise.consecutive(0, 4)).mean().item())
    assert nats[0] - nats[1] == pytest.approx(3 * math.log(2), abs=0.05)


def test_noise_prediction_needs_a_schedule_that_starts_with_some_data() -> None:
    with pytest.raises(ValidationError, match="choose ddpm"):
        GridOptions(schedule="linear", prediction="noise")
    GridOptions(schedule="ddpm", prediction="noise")


def test_a_model_that_was_not_trained_to_inpaint_refuses() -> None:
    model = GridDiffusion(Grid(1, (8, 8)), {}, GridOptions(width=16)).eval()
    given = Partial(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.bool))
    with pytest.raises(UserError, match="was not trained to inpaint"):
        list(model.generate(Request(Noise.consecutive(0, 2), given=given), GridControls()))


ENDS = (slice(0, 3), slice(5, 8))


def _share_upright(steps: int = 150) -> float:
    """Train with every change on pictures with a bright upper left corner; return the share of samples that have it."""
    torch.manual_seed(0)
    data = torch.full((1, 1, 8, 8), -1.0)
    data[..., :3, :3] = 1.0
    model = GridDiffusion(Grid(1, (8, 8)), {}, GridOptions(width=16, patch=2, blocks=(1,), augment=0.5))
    model.initialize("model", [Batch(data)])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(steps):
        model(Batch(data.expand(64, 1, 8, 8))).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    *_, draft = model.generate(Request(Noise.consecutive(0, 200)), GridControls(steps=10))
    corners = [draft.x[..., rows, columns].mean((1, 2, 3)) for rows in ENDS for columns in ENDS]
    return (torch.stack(corners).argmax(0) == 0).float().mean().item()


def test_augmentation_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are as the data are; they would not be if the network did not get the parameters of the changes."""
    assert _share_upright() > 0.98

    def without_parameters(*arguments: Any) -> Augmentation:
        change = random_augmentation(*arguments)
        return change._replace(parameters=torch.zeros_like(change.parameters))

    monkeypatch.setattr(grid, "random_augmentation", without_parameters)
    assert _share_upright() < 0.8


def test_grids_of_a_condition_change_as_the_picture_does() -> None:
    x, label = torch.randn(16, 1, 8, 8), torch.randint(3, (16, 1))
    spaces: dict[str, Space] = {"low_res": Grid(1, (8, 8)), "label": Tokens(3, (1,)), "numbers": Grid(2)}
    options = GridOptions(width=16, augment=1.0, inpaint_prob=0.5)
    model = GridDiffusion(Grid(1, (8, 8)), spaces, options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    batch = Batch(x, {"low_res": x.clone(), "label": label, "numbers": torch.zeros(16, 2)})
    changed, parameters = model.augmented(batch)
    torch.testing.assert_close(changed.condition["low_res"], changed.x)
    assert not torch.allclose(changed.x, x, atol=0.1)
    assert changed.condition["label"] is label
    assert parameters is not None
    loss = model(batch).total
    loss.backward()
    assert loss.isfinite()
    weight = model.network.get_parameter("augmentation.weight")
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    assert model.eval().augmented(batch) == (batch, None)


def test_few_pictures_are_augmented_and_nothing_else_is() -> None:
    def chosen(space: Grid, items: int, augment: float | None = None) -> float:
        options = GridDiffusion.resolve_options(GridOptions(width=16, augment=augment), space, items)
        return GridDiffusion(space, {}, options).options.augment or 0.0

    picture, spectrogram = Grid(1, (8, 12), step=2 / 255), Grid(1, (8, 12), axes=("frequency", "time"), step=2 / 255)
    assert chosen(picture, 400) > 0
    assert chosen(picture, 60_000) == 0
    assert (chosen(picture, 400, 0.0), chosen(picture, 60_000, 0.3)) == (0, 0.3)
    latents = Grid(4, (8, 8))
    assert [chosen(space, 400) for space in (spectrogram, latents, Grid(3, (16,)), Grid(3))] == [0, 0, 0, 0]
    with pytest.raises(UserError, match="needs the axes height and width, and these items have frequency, time"):
        chosen(spectrogram, 400, 0.1)
