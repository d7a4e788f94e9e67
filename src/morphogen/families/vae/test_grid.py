"""The VAE of grids against closed forms: likelihoods, the bound, and priors that match the aggregate posterior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Tokens

from .grid import GridVAE
from .likelihood import mean_value, negative_log_likelihood
from .options import Controls, GridOptions
from .prior import FlowPrior, MixturePrior

VALUES = torch.linspace(-1, 1, 256, dtype=torch.float64).reshape(256, 1)
STEP = 2 / 255


@pytest.mark.parametrize("kind", ["gaussian", "discretised_logistic"])
@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, -1.0), (0.97, -3.0), (-1.4, -2.0), (0.2, -6.0)])
def test_probabilities_of_all_values_sum_to_one(kind: str, mean: float, log_scale: float) -> None:
    scale = torch.tensor(log_scale, dtype=torch.float64)
    nats = negative_log_likelihood(kind, torch.full_like(VALUES, mean), VALUES, scale, STEP)  # type: ignore[arg-type]
    assert torch.exp(-nats).sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "discretised_logistic"])
def test_bins_agree_with_scipy(kind: str) -> None:
    distribution = stats.norm if kind == "gaussian" else stats.logistic
    mean, scale = 0.13, 0.21
    inner = VALUES[1:-1, 0].numpy()
    expected = np.log(distribution.cdf(inner + STEP / 2, mean, scale) - distribution.cdf(inner - STEP / 2, mean, scale))
    log_scale = torch.tensor(math.log(scale), dtype=torch.float64)
    nats = negative_log_likelihood(kind, torch.full_like(VALUES, mean), VALUES, log_scale, STEP)  # type: ignore[arg-type]
    np.testing.assert_allclose(-nats[1:-1].numpy(), expected, rtol=1e-6)


def test_density_without_a_step_is_the_normal_density() -> None:
    x = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    log_scale = torch.tensor(math.log(0.7), dtype=torch.float64)
    nats = negative_log_likelihood("gaussian", torch.full_like(x, 0.1), x, log_scale, 0.0)
    assert -nats.item() == pytest.approx(stats.norm.logpdf([0.3, -1.2], 0.1, 0.7).sum())


def test_bernoulli_mean_is_its_activation() -> None:
    logits = torch.tensor([[-2.0, 0.0, 3.0]])
    assert torch.allclose(mean_value("bernoulli", logits), 2 * torch.sigmoid(logits) - 1)
    nats = negative_log_likelihood("bernoulli", logits, torch.ones(1, 3), torch.zeros(()), 2.0)
    assert nats.item() == pytest.approx(-torch.log(torch.sigmoid(logits)).sum().item(), rel=1e-6)


def test_the_likelihood_follows_the_data() -> None:
    options = GridOptions(width=16, prior="normal")
    assert GridVAE(Grid(1, (8, 8), step=2.0), {}, options).options.likelihood == "bernoulli"
    assert GridVAE(Grid(1, (8, 8), step=STEP), {}, options).options.likelihood == "gaussian"
    with pytest.raises(UserError, match="data of two values"):
        GridVAE(Grid(1, (8, 8), step=STEP), {}, GridOptions(likelihood="bernoulli"))
    with pytest.raises(UserError, match="data in steps"):
        GridVAE(Grid(1, (8, 8)), {}, GridOptions(likelihood="discretised_logistic"))


def test_bound_reaches_the_evidence_of_a_decoder_that_ignores_its_latent() -> None:
    """With q(z|x) = p(z) and a decoder of constant output, every bound is the exact log-likelihood."""
    torch.manual_seed(0)
    model = GridVAE(Grid(3), {}, GridOptions(width=16, latent_channels=2, prior="normal")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.on_step_end(0.0, 0.0, {"squared_error": 0.8**2})
    x = torch.randn(5, 3)
    bound = model.log_likelihood(Batch(x), Noise.consecutive(0, 5))
    np.testing.assert_allclose(bound.numpy(), stats.norm.logpdf(x.numpy(), 0, 0.8).sum(1), rtol=1e-4)


def test_more_draws_tighten_the_bound() -> None:
    torch.manual_seed(1)
    model = GridVAE(Grid(4), {}, GridOptions(width=32, latent_channels=3, prior="normal")).eval()
    batch = Batch(torch.randn(200, 4))
    bounds = [model.log_likelihood(batch, Noise.consecutive(0, 200), draws=k).mean().item() for k in (1, 8, 64)]
    assert bounds[0] < bounds[1] < bounds[2]


def test_mixture_prior_samples_each_class_from_its_own_components() -> None:
    torch.manual_seed(0)
    label = torch.randint(0, 2, (2000, 1))
    z = torch.randn(2000, 2) * 0.3 + torch.where(label == 1, 4.0, -4.0)
    prior = MixturePrior(Grid(2), {"label": Tokens(2, (1,))}, components=4)
    prior.fit(z, [{"label": label}])
    for class_index, centre in ((0, -4.0), (1, 4.0)):
        condition = {"label": torch.full((500, 1), class_index)}
        (sample, _), *_ = prior.sample(Noise.consecutive(0, 500), condition, Controls(), torch.device("cpu"))
        assert sample.mean(0).tolist() == pytest.approx([centre, centre], abs=0.1)
        assert sample.std(0).tolist() == pytest.approx([0.3, 0.3], abs=0.05)


@pytest.mark.parametrize("count", [1, 3])
def test_a_mixture_of_fewer_items_than_components(count: int) -> None:
    """Each item is a component; the others are never sampled, nor under a class."""
    z, label = torch.arange(count * 2.0).reshape(count, 2), torch.arange(count).reshape(-1, 1)
    prior = MixturePrior(Grid(2), {"label": Tokens(4, (1,))}, components=10)
    prior.fit(z, [{"label": label}])
    assert prior.weights.sum().item() == pytest.approx(1)
    assert int((prior.weights > 0).sum()) == count
    for condition in ({}, {"label": torch.full((200, 1), count - 1)}):
        (sample, _), *_ = prior.sample(Noise.consecutive(0, 200), condition, Controls(), torch.device("cpu"))
        nearest = torch.cdist(sample, z).min(1)
        assert nearest.values.max() < 0.1
        if condition:
            assert (nearest.indices == count - 1).all()


def test_a_flow_prior_of_one_vector_is_finite() -> None:
    prior = FlowPrior(Grid(3), {}, width=16, blocks=1, condition_dropout=0.0)
    prior.fit(torch.ones(1, 3), [{}])
    assert torch.isfinite(prior.forward(torch.ones(1, 3), {}).total)


def test_mixture_prior_refuses_numbers_as_conditions() -> None:
    with pytest.raises(UserError, match="prior flow"):
        MixturePrior(Grid(2), {"age": Grid(1)}, components=2)


def test_temperature_zero_gives_one_sample() -> None:
    torch.manual_seed(0)
    model = GridVAE(Grid(4), {}, GridOptions(width=16, prior="normal")).eval()
    *_, draft = model.generate(Request(Noise.consecutive(0, 3)), Controls(temperature=0.0))
    assert torch.equal(draft.x[0], draft.x[1])
    assert torch.equal(draft.x[0], draft.x[2])
