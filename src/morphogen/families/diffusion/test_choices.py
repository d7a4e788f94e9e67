"""Rows of numbers and choices: what a network draws that knows the truth, and what is learned of a planted one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Continuous, Tokens
from morphogen.sampling.path import PATHS
from morphogen.sampling.solvers.base import resolve

from .choices import Mixed, Revealing
from .model import Diffusion
from .options import Options

SPACE = Continuous(1 + 3 + 4, choices=(3, 4))
JOINT = torch.tensor([[0.30, 0.02, 0.05, 0.01], [0.01, 0.20, 0.04, 0.02], [0.02, 0.03, 0.05, 0.25]])


def knows(channels: Tensor, level: Tensor) -> Tensor:
    """The data of a number N(0, 1) that is independent, and p(a choice | the other one, if it is seen)."""
    x, one, other = channels.split((1, 3, 4), dim=1)
    level = level.clamp(max=1e6)
    alpha, sigma = 1 / (1 + level), level / (1 + level)
    whole = (alpha**2 + sigma**2).sqrt()
    data = x * whole[:, None] * (alpha / whole**2)[:, None]
    first = torch.where(other.sum(1, keepdim=True) > 0, other @ JOINT.t(), JOINT.sum(1))
    second = torch.where(one.sum(1, keepdim=True) > 0, one @ JOINT, JOINT.sum(0))
    return torch.cat((data, first.log(), second.log()), dim=1)


def table_of(x: Tensor) -> np.ndarray:
    first, second = x[:, 1:4].argmax(1), x[:, 4:].argmax(1)
    return np.bincount(np.ravel_multi_index((first.numpy(), second.numpy()), (3, 4)), minlength=12)


@pytest.mark.parametrize("solver", ["euler", "dpm_solver", "heun", "ancestral"])
def test_choices_follow_a_joint_that_the_network_knows(solver: str) -> None:
    path, noise = PATHS["straight"](), Noise.count(0, 8000)
    predict = Revealing(Mixed(SPACE), path, knows, "data", noise, torch.device("cpu"))
    start = noise.normal("start", (1,))
    steps = list(resolve(solver).solve(path, predict, start, path.uniform_times(100), noise))
    x = torch.cat((steps[-1].x, predict.finish()), dim=1)
    assert (
        stats.chisquare(table_of(x), 8000 * JOINT.double().flatten().numpy() / JOINT.double().sum().item()).pvalue
        > 0.01
    )
    assert stats.kstest(x[:, 0].numpy(), "norm").pvalue > 1e-3


def test_a_planted_joint_is_learned() -> None:
    torch.manual_seed(0)
    model = Diffusion(SPACE, {}, Options(width=8))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(1200):
        cell = torch.multinomial(JOINT.flatten(), 256, replacement=True)
        number = (cell // 4 - 1) * 1.2 + 0.2 * torch.randn(256)
        x = torch.cat((number[:, None], F.one_hot(cell // 4, 3), F.one_hot(cell % 4, 4)), dim=1).float()
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / 1200)
        loss = model(Batch(x)).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    x = list(model.generate(Request(Noise.count(0, 6000)), Diffusion.Controls(steps=30)))[-1].x
    found = torch.as_tensor(table_of(x) / 6000).reshape(3, 4)
    assert (found - JOINT).abs().sum() / 2 < 0.05
    for which in range(3):
        own = x[x[:, 1:4].argmax(1) == which, 0]
        assert own.mean().item() == pytest.approx((which - 1) * 1.2, abs=0.1)
        assert own.std().item() == pytest.approx(0.2, abs=0.1)


def test_what_it_cannot_is_refused() -> None:
    with pytest.raises(UserError, match="no condition"):
        Diffusion(SPACE, {"label": Tokens(3, (1,))}, Options(width=8))
    with pytest.raises(UserError, match="fill"):
        Diffusion(SPACE, {}, Options(width=8, fill=0.5))
