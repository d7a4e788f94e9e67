"""The VAE against closed forms: likelihoods, the bound, and priors that match the aggregate posterior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Continuous, Tokens

from .likelihood import nats, value
from .model import VariationalAutoencoder
from .options import Controls, Options
from .prior import FlowPrior, MixturePrior

GRID = torch.linspace(-1, 1, 256, dtype=torch.float64).reshape(256, 1)
STEP = 2 / 255


@pytest.mark.parametrize("kind", ["gaussian", "discretised_logistic"])
@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, -1.0), (0.97, -3.0), (-1.4, -2.0), (0.2, -6.0)])
def test_probabilities_of_all_values_sum_to_one(kind: str, mean: float, log_scale: float) -> None:
    scale = torch.tensor(log_scale, dtype=torch.float64)
    each = nats(kind, torch.full_like(GRID, mean), GRID, scale, STEP)  # type: ignore[arg-type]
    assert torch.exp(-each).sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "discretised_logistic"])
def test_bins_agree_with_scipy(kind: str) -> None:
    distribution = stats.norm if kind == "gaussian" else stats.logistic
    mean, scale = 0.13, 0.21
    inner = GRID[1:-1, 0].numpy()
    expected = np.log(distribution.cdf(inner + STEP / 2, mean, scale) - distribution.cdf(inner - STEP / 2, mean, scale))
    log_scale = torch.tensor(math.log(scale), dtype=torch.float64)
    found = -nats(kind, torch.full_like(GRID, mean), GRID, log_scale, STEP)[1:-1]  # type: ignore[arg-type]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_density_without_a_step_is_the_normal_density() -> None:
    x = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    found = -nats("gaussian", torch.full_like(x, 0.1), x, torch.tensor(math.log(0.7), dtype=torch.float64), 0.0)
    assert found.item() == pytest.approx(stats.norm.logpdf([0.3, -1.2], 0.1, 0.7).sum())


def test_bernoulli_mean_is_its_activation() -> None:
    logits = torch.tensor([[-2.0, 0.0, 3.0]])
    assert torch.allclose(value("bernoulli", logits), 2 * torch.sigmoid(logits) - 1)
    ones = nats("bernoulli", logits, torch.ones(1, 3), torch.zeros(()), 2.0)
    assert ones.item() == pytest.approx(-torch.log(torch.sigmoid(logits)).sum().item(), rel=1e-6)


def test_two_valued_data_get_a_bernoulli_likelihood() -> None:
    options = Options(width=16, prior="normal")
    assert VariationalAutoencoder(Continuous(1, (8, 8), step=2.0), {}, options).likelihood == "bernoulli"
    assert VariationalAutoencoder(Continuous(1, (8, 8), step=STEP), {}, options).likelihood == "gaussian"


def test_bound_reaches_the_evidence_of_a_decoder_that_ignores_its_latent() -> None:
    """With q(z|x) = p(z) and a decoder of constant output, every bound is the exact log-likelihood."""
    torch.manual_seed(0)
    model = VariationalAutoencoder(Continuous(3), {}, Options(width=16, latent_channels=2, prior="normal")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.log_deviation.fill_(math.log(0.8))
    x = torch.randn(5, 3)
    found = model.log_likelihood(Batch(x), Noise.count(0, 5))
    expected = stats.norm.logpdf(x.numpy(), 0, 0.8).sum(1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_more_draws_tighten_the_bound() -> None:
    torch.manual_seed(1)
    model = VariationalAutoencoder(Continuous(4), {}, Options(width=32, latent_channels=3, prior="normal")).eval()
    batch = Batch(torch.randn(200, 4))
    bounds = [model.log_likelihood(batch, Noise.count(0, 200), draws=k).mean().item() for k in (1, 8, 64)]
    assert bounds[0] < bounds[1] < bounds[2]


def test_mixture_prior_draws_each_class_from_its_own_components() -> None:
    torch.manual_seed(0)
    label = torch.randint(0, 2, (2000, 1))
    z = torch.randn(2000, 2) * 0.3 + torch.where(label == 1, 4.0, -4.0)
    prior = MixturePrior(Continuous(2), {"label": Tokens(2, (1,))}, components=4)
    prior.begin(z, [{"label": label}])
    for wanted, centre in ((0, -4.0), (1, 4.0)):
        condition = {"label": torch.full((500, 1), wanted)}
        (drawn, _), *_ = prior.sample(Noise.count(0, 500), condition, Controls(), torch.device("cpu"))
        assert drawn.mean(0).tolist() == pytest.approx([centre, centre], abs=0.1)
        assert drawn.std(0).tolist() == pytest.approx([0.3, 0.3], abs=0.05)


@pytest.mark.parametrize("count", [1, 3])
def test_a_mixture_of_fewer_items_than_components(count: int) -> None:
    """Each item is a component; the others are never drawn, under a class neither."""
    z, label = torch.arange(count * 2.0).reshape(count, 2), torch.arange(count).reshape(-1, 1)
    prior = MixturePrior(Continuous(2), {"label": Tokens(4, (1,))}, components=10)
    prior.begin(z, [{"label": label}])
    assert prior.weights.sum().item() == pytest.approx(1)
    assert int((prior.weights > 0).sum()) == count
    for condition in ({}, {"label": torch.full((200, 1), count - 1)}):
        (drawn, _), *_ = prior.sample(Noise.count(0, 200), condition, Controls(), torch.device("cpu"))
        nearest = torch.cdist(drawn, z).min(1)
        assert nearest.values.max() < 0.1
        if condition:
            assert (nearest.indices == count - 1).all()


def test_a_flow_prior_of_one_vector_is_finite() -> None:
    prior = FlowPrior(Continuous(3), {}, width=16, blocks=1, condition_drop=0.0)
    prior.begin(torch.ones(1, 3), [{}])
    assert torch.isfinite(prior.forward(torch.ones(1, 3), {}).total)


def test_mixture_prior_refuses_numbers_as_conditions() -> None:
    with pytest.raises(UserError, match="prior flow"):
        MixturePrior(Continuous(2), {"age": Continuous(1)}, components=2)


def test_temperature_zero_gives_one_sample() -> None:
    torch.manual_seed(0)
    model = VariationalAutoencoder(Continuous(4), {}, Options(width=16, prior="normal")).eval()
    *_, draft = model.generate(Request(Noise.count(0, 3)), Controls(temperature=0.0))
    assert torch.equal(draft.x[0], draft.x[1])
    assert torch.equal(draft.x[0], draft.x[2])
