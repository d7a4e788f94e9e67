"""Diffusion against closed forms: the likelihood of a Gaussian, and what training on one learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from morphogen.core.model import Batch, Prediction, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Continuous
from morphogen.sampling.likelihood import ode_log_likelihood
from morphogen.sampling.path import PATHS, PathName

from .model import Diffusion
from .options import Controls, Options


@pytest.mark.parametrize("name", list(PATHS))
def test_ode_likelihood_of_a_gaussian(name: PathName) -> None:
    """Data N(0, diag(s²)), whose denoiser is known; Hutchinson's estimate is exact where the Jacobian is diagonal."""
    deviations = torch.tensor([1.2, 0.8], dtype=torch.float64)
    path = PATHS[name]()

    def predict(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = path.alpha(t.double()), path.sigma(t.double())
        variance = alpha.square() * deviations.square() + sigma.square()
        data = alpha * deviations.square() / variance * x
        return Prediction(data, sigma / variance * x)

    x = torch.randn(6, 2, dtype=torch.float64) * deviations
    times = path.karras_times(200, 0.002, 80.0)
    found = ode_log_likelihood(path, predict, x, times, Noise.count(0, 6))
    expected = stats.norm.logpdf(x.numpy(), 0, deviations.numpy()).sum(1)
    np.testing.assert_allclose(found.numpy(), expected, atol=0.02)


@pytest.mark.parametrize("name", list(PATHS))
def test_ode_likelihood_keeps_its_accuracy_in_many_dimensions(name: PathName) -> None:
    """Data N(0, I) in 1000 dimensions at the default number of steps: errors per dimension would add up."""
    path = PATHS[name]()

    def predict(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = path.alpha(t.double()), path.sigma(t.double())
        variance = alpha.square() + sigma.square()
        return Prediction(alpha / variance * x, sigma / variance * x)

    x = torch.randn(3, 1000, dtype=torch.float64)
    found = ode_log_likelihood(path, predict, x, path.karras_times(32, 0.002, 80.0), Noise.count(0, 3))
    np.testing.assert_allclose(found.numpy(), stats.norm.logpdf(x.numpy()).sum(1), atol=0.05)


def test_training_on_a_gaussian_learns_its_mean_and_deviation() -> None:
    torch.manual_seed(0)
    data = torch.tensor([3.0, -1.0]) + torch.tensor([0.5, 2.0]) * torch.randn(4096, 2)
    model = Diffusion(Continuous(2), {}, Options(width=32, blocks=(2,)))
    model.begin("model", [Batch(data)])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 400)
        loss = model(Batch(data[torch.randint(0, 4096, (256,))])).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    *_, draft = model.generate(Request(Noise.count(0, 2000)), Controls())
    assert draft.x.mean(0).tolist() == pytest.approx([3.0, -1.0], abs=0.15)
    assert draft.x.std(0).tolist() == pytest.approx([0.5, 2.0], rel=0.15)


def test_bits_of_the_raw_values_do_not_depend_on_how_data_are_scaled() -> None:
    """The same untrained model on grids twice as fine has one more nat times ln 2 per dimension."""
    torch.manual_seed(0)
    x = torch.randn(4, 3).clamp(-1, 1)
    nats = []
    for step in (0.02, 0.01):
        torch.manual_seed(1)
        model = Diffusion(Continuous(3, step=step), {}, Options(width=16, blocks=(1,))).eval()
        nats.append(model.log_likelihood(Batch(x), Noise.count(0, 4)).mean().item())
    assert nats[0] - nats[1] == pytest.approx(3 * math.log(2), abs=0.05)


def test_noise_prediction_needs_a_path_that_begins_with_some_data() -> None:
    with pytest.raises(ValidationError, match="use ddpm"):
        Options(path="straight", prediction="noise")
    Options(path="ddpm", prediction="noise")
