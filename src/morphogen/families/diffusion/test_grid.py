"""Diffusion of grids against closed forms: the likelihood of a Gaussian, and what training on one learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Partial, Prediction, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid
from morphogen.sampling.likelihood import ode_log_likelihood
from morphogen.sampling.schedule import SCHEDULES, ScheduleName

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
