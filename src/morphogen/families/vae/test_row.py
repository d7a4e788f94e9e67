"""The VAE of rows: its probabilities, samples from them, and a planted joint that training learns."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Field, Row

from .options import RowOptions
from .row import RowVAE

# The last field takes two tokens: 17 groups of 8 cells, of which the last has 2, and a special cell.
SPACE = Row((Field(3), Field(5, ordered=4), Field(131, ordered=130)))
SIZES = (3, 5, 131)
ALL = torch.tensor(list(product(*map(range, SIZES))))


def untrained() -> RowVAE:
    torch.manual_seed(0)
    model = RowVAE(SPACE, {}, RowOptions(width=32, latent_channels=4, prior="normal"))
    model.autoencoder.head.data.normal_(std=0.3)
    return model.eval()


def test_probabilities_of_all_rows_sum_to_one_and_are_sampled_from() -> None:
    model = untrained()
    z = torch.randn(1, 4)
    with torch.no_grad():
        p = (-model.autoencoder.nll(z.expand(len(ALL), -1), {}, ALL)).exp().double()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    x = model.decode(z.expand(20_000, -1), {}, Noise.consecutive(0, 20_000))
    counts = np.bincount(np.ravel_multi_index(x.t().numpy(), SIZES), minlength=len(ALL))
    expected = p.numpy() / p.sum().item() * len(x)
    large = expected > 5
    assert stats.chisquare(counts[large], expected[large] * counts[large].sum() / expected[large].sum()).pvalue > 0.01
    assert torch.equal(x[7:9], model.decode(z.expand(2, -1), {}, Noise.consecutive(7, 2)))


def test_a_planted_joint_is_learned() -> None:
    """Half of the rows are all 0, and the others random: independent fields cannot do that."""
    torch.manual_seed(0)
    sizes = (3, 4, 5, 200)
    space = Row((*(Field(size) for size in sizes[:3]), Field(200, ordered=200)))
    model = RowVAE(space, {}, RowOptions(width=64, latent_channels=4, prior_width=64))
    generator = torch.Generator().manual_seed(0)

    def batch(count: int = 128) -> Batch:
        x = torch.stack([torch.randint(size, (count,), generator=generator) for size in sizes], dim=1)
        zero = torch.rand(count, 1, generator=generator) < 0.5
        return Batch(torch.where(zero & (torch.arange(4) < 3), 0, x))

    for phase, module in (("autoencoder", model.autoencoder), ("prior", model.prior)):
        model.initialize(phase, [batch(4000)])
        optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
        for step in range(300):
            optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / 300)
            model.on_step_end(step / 600, 1.0, {})
            loss = model(batch(), phase).total
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval()
    x = list(model.generate(Request(Noise.consecutive(0, 4000)), model.Controls()))[-1].x
    zeros = x[:, :3] == 0
    assert zeros.all(1).float().mean().item() == pytest.approx(0.5 + 0.5 / 60, abs=0.06)  # if independent: .23
    assert zeros.float().mean(0).tolist() == pytest.approx([0.5 + 0.5 / size for size in (3, 4, 5)], abs=0.06)
    assert np.bincount(x[:, 3] // 8, minlength=25).min() > 80  # of about 160 each
    reconstructed = model.decode(model.encode(Batch(x)), {}, Noise.consecutive(0, len(x)))
    assert (reconstructed[:, :3] == x[:, :3]).all(1).float().mean() > 0.7
