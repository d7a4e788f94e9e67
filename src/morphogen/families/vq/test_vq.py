"""The quantisers against their definitions, and the autoencoder around them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Tokens
from morphogen.testing import check_model

from .grid import GridVQ
from .options import Controls, Options
from .quantise import Codebook, FiniteScalar

LEVELS = [(2,), (3,), (8, 5, 5, 5), (4, 7, 2)]


@pytest.mark.parametrize("levels", LEVELS)
def test_every_combination_of_levels_is_a_code_and_is_reached(levels: tuple[int, ...]) -> None:
    quantiser = FiniteScalar(levels)
    codes = torch.arange(math.prod(levels))
    vectors = quantiser.vectors(codes)
    assert len(vectors.unique(dim=0)) == len(codes)
    assert vectors.abs().max() <= 1
    # Far out in each direction and in the middle: all levels of a channel are within reach of tanh.
    line = torch.linspace(-4, 4, 201)
    for channel, count in enumerate(levels):
        z = torch.zeros(201, len(levels))
        z[:, channel] = line
        assert len(quantiser(z).z[:, channel].unique()) == count
    quantised = quantiser(torch.randn(500, len(levels)) * 2)
    torch.testing.assert_close(quantiser.vectors(quantised.code), quantised.z.detach())


@pytest.mark.parametrize("levels", LEVELS)
def test_rounding_moves_a_value_by_half_a_level_at_most(levels: tuple[int, ...]) -> None:
    """Section 3.1 of arXiv 2309.15505: the spacing of a channel is 1 / floor(levels / 2)."""
    quantiser = FiniteScalar(levels)
    vectors = quantiser.vectors(torch.arange(quantiser.vocab))
    for channel, count in enumerate(levels):
        spacing = vectors[:, channel].unique().diff()
        torch.testing.assert_close(spacing, torch.full((count - 1,), 1 / (count // 2)))
    assert quantiser(torch.zeros(1, len(levels))).z.abs().max() == 0  # the origin stays where it is


def test_gradients_pass_straight_through() -> None:
    z = torch.randn(6, 3, requires_grad=True)
    FiniteScalar((5, 5, 5))(z).z.sum().backward()
    assert z.grad is not None
    # That of the bound: reach / floor(L / 2) · (1 − tanh²).
    torch.testing.assert_close(z.grad, (1 - torch.tanh(z.detach()) ** 2) * (2 * 1.001) / 2)
    z = torch.randn(6, 3, requires_grad=True)
    book = Codebook(7, 3, 0.99, 0.25).eval()
    book(z).z.sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, torch.ones(6, 3))


def test_a_code_is_the_nearest_vector() -> None:
    book = Codebook(9, 2, 0.99, 0.25).eval()
    z = torch.randn(40, 2)
    quantised = book(z)
    expected = torch.tensor([min(range(9), key=lambda k: float((v - book.weight[k]).norm())) for v in z])
    assert torch.equal(quantised.code, expected)
    torch.testing.assert_close(quantised.z, book.weight[expected])


def test_the_codebook_learns_clusters_and_moves_dead_codes() -> None:
    """Of four far clusters and eight codes that all start at one of them, each gets its own, and all are used."""
    torch.manual_seed(0)
    centres = torch.tensor(list(itertools.product((-5.0, 5.0), repeat=2)))
    book = Codebook(8, 2, 0.9, 0.25).train()
    book.weight.copy_(centres[:1] + 0.01 * torch.randn(8, 2))
    for _ in range(300):
        quantised = book(centres[torch.randint(4, (256,))] + 0.1 * torch.randn(256, 2))
    assert len(quantised.code.unique()) == 8
    assert torch.cdist(centres, book.weight).min(1).values.max() < 0.2


def test_the_codebook_does_not_change_in_eval_mode() -> None:
    book = Codebook(4, 2, 0.9, 0.25).eval()
    before = book.weight.clone()
    book(torch.randn(30, 2))
    assert torch.equal(book.weight, before)


@pytest.mark.parametrize("quantiser", ["scalar", "codebook"])
def test_samples_by_themselves_have_each_cells_frequencies(quantiser: str) -> None:
    torch.manual_seed(0)
    sizes = {"levels": (3, 3)} if quantiser == "scalar" else {"codes": 9}
    options = Options(width=16, patch=1, quantiser=quantiser, **sizes)
    model = GridVQ(Grid(1, (8, 8)), {}, options).eval()
    assert model.latent == Tokens(9, (4, 4))
    batch = Batch(torch.rand(400, 1, 8, 8) * torch.linspace(-1, 1, 8))
    with torch.no_grad():
        model.initialize("codes", [batch])
        code = model.encode(batch)
        assert torch.equal(model.frequency.sum(1), torch.full((16,), 400.0))
        assert model.frequency[5, 2] == (code.flatten(1)[:, 5] == 2).sum()
        assert model.codes_used == pytest.approx(len(code.unique()) / 9)
        *_, draft = model.generate(Request(Noise.consecutive(0, 50)), Controls())
        decoded = model.decode(code[:1], {}, Noise.consecutive(0, 1))
    assert draft.x.shape == (50, 1, 8, 8)
    assert torch.equal(decoded, model.decode(model.encode(Batch(batch.x[:1])), {}, Noise.consecutive(0, 1)))


def test_a_learned_codebook_keeps_the_contract() -> None:
    check_model(GridVQ, {"width": 16, "quantiser": "codebook", "codes": 16}, spaces=(Grid(1, (8, 8)),), steps=60)


def test_vectors_and_conditions_are_refused() -> None:
    with pytest.raises(UserError, match="needs a grid with axes"):
        GridVQ(Grid(5), {}, Options())
    with pytest.raises(UserError, match="takes no condition, and 'label' was given"):
        GridVQ(Grid(1, (8, 8)), {"label": Tokens(3, (1,))}, Options())


def test_the_terms_against_blur() -> None:
    """README, equation 4; they are 0 in the first fifth of training, and the critic's phases change no codebook."""
    torch.manual_seed(0)
    options = Options(width=8, quantiser="codebook", codes=16, adversarial=0.3, perceptual=0.2)
    model = GridVQ(Grid(1, (8, 8)), {}, options).eval()
    book = model.autoencoder.quantiser
    assert isinstance(book, Codebook)
    assert model.critic is not None
    for block in model.critic.levels.parameters():  # residual blocks start as the identity
        torch.nn.init.normal_(block, std=0.1)
    x = torch.randn(6, 1, 8, 8)
    plain = model(Batch(x)).total
    weight = model.autoencoder.decoder.head.weight
    assert isinstance(weight, torch.Tensor)
    model.on_step_end(1.0, 1.0, {})
    y = model.decode(model.encode(Batch(x)), {}, Noise.consecutive(0, 6))
    squared_error = (x - y).square().mean()
    adversarial = torch.nn.functional.softplus(model.critic(x, {}) - model.critic(y, {})).mean()
    distances = []
    for a, b in zip(model.critic.score_and_features(x, {})[1], model.critic.score_and_features(y, {})[1], strict=True):
        a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
        distances.append((a - b).square().sum() / a[:, 0].numel())
    # The squared error is a unit here: no gradient passes through it.
    term = squared_error.detach() * (0.3 * adversarial + 0.2 * torch.stack(distances).mean())
    total = model(Batch(x)).total
    torch.testing.assert_close(total - plain, term)
    torch.testing.assert_close(*(torch.autograd.grad(loss, weight)[0] for loss in (total - plain, term)))

    model.train()
    before = book.weight.clone()
    for phase in ("critic", "penalty"):
        model(Batch(x), phase).total.backward()
    assert torch.equal(book.weight, before)
    assert all(parameter.grad is None for parameter in model.autoencoder.parameters())
    model(Batch(x))
    assert not torch.equal(book.weight, before)


def test_with_terms_against_blur_it_keeps_the_contract() -> None:
    options = {"width": 8, "levels": (4, 4), "adversarial": 0.1, "perceptual": 0.1}
    check_model(GridVQ, options, spaces=(Grid(2, (16,)),), steps=20)
