"""Rows of columns through a latent: probabilities, draws, and what is learned of a planted joint."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens

from .model import VariationalAutoencoder
from .options import Options
from .rows import RowAutoencoder, _settled_by

SPACE = Tokens((3, 4, 5, 97, 8), (5,), parts=(1, 2), even=2)
ALL = torch.tensor([(*cells, 0, 0) for cells in product(range(3), range(4), range(5))])


def untrained() -> VariationalAutoencoder:
    torch.manual_seed(0)
    model = VariationalAutoencoder(SPACE, {}, Options(width=8, latent_channels=4, prior="normal"))
    assert isinstance(model.autoencoder, RowAutoencoder)
    model.autoencoder.head.data.normal_()
    return model.eval()


def test_probabilities_sum_to_one_and_are_drawn_from() -> None:
    part = untrained().autoencoder
    assert isinstance(part, RowAutoencoder)
    z = torch.randn(1, 4)
    with torch.no_grad():
        p = (-part.nats(z.expand(len(ALL), -1), {}, ALL)).exp().double()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    x = part.draw(z.expand(20_000, -1), {}, Noise.count(0, 20_000).uniform("symbols", (5,)))
    counts = np.bincount(np.ravel_multi_index(x[:, :3].t().numpy(), (3, 4, 5)), minlength=60)
    expected = p.numpy() / p.sum().item() * len(x)
    large = expected > 5
    assert stats.chisquare(counts[large], expected[large] * counts[large].sum() / expected[large].sum()).pvalue > 0.01
    assert np.bincount(x[:, 3], minlength=97).min() > 120  # of about 206 each


def test_numbers_that_a_latent_settles_are_as_good_as_drawn() -> None:
    z = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    uniform = _settled_by(z, 6)
    assert torch.equal(uniform, _settled_by(z + 1e-7, 6))
    for column in uniform.unbind(1):
        assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(torch.cat((z, uniform), dim=1).numpy().T) - np.eye(10)).max() < 0.06


def test_a_planted_joint_is_learned() -> None:
    """Half of the rows are all 0, and the others anything else: columns that know nothing of each other miss it."""
    torch.manual_seed(0)
    model = VariationalAutoencoder(SPACE, {}, Options(width=16, latent_channels=4, prior_width=64))
    random = torch.Generator().manual_seed(0)

    def batch(count: int = 256) -> Batch:
        x = torch.stack([torch.randint(size, (count,), generator=random) for size in (3, 4, 5, 97, 8)], dim=1)
        same = torch.rand(count, 1, generator=random) < 0.5
        return Batch(torch.where(same & (torch.arange(5) < 3), 0, x))

    for phase, part in (("autoencoder", model.autoencoder), ("prior", model.prior)):
        model.begin(phase, [batch(4000)])
        optimiser = torch.optim.AdamW(part.parameters(), lr=3e-3)
        for step in range(500):
            for group in optimiser.param_groups:
                group["lr"] = 3e-3 * (1 - step / 500)
            model.adapt(step / 1000, 1.0, {})
            loss = model(batch(), phase).total
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval()
    x = list(model.generate(Request(Noise.count(0, 4000)), model.Controls()))[-1].x
    zeros = x[:, :3] == 0
    assert zeros.all(1).float().mean().item() == pytest.approx(0.5 + 0.5 / 60, abs=0.06)  # apart: .23
    assert zeros.float().mean(0).tolist() == pytest.approx([0.5 + 0.5 / size for size in (3, 4, 5)], abs=0.06)
    back = model.decode(model.encode(Batch(x)), {})
    assert (back[:, :3] == x[:, :3]).all(1).float().mean() > 0.7
