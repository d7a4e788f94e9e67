"""The model of latents against what it was trained on: its sizes, its latents, its samples, and what is given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid
from morphogen.testing import check_model

from .grid import GridLatentDenoiser
from .options import GridControls, GridOptions

SPACE = Grid(1, (8, 8))


def model_of(x: Tensor, steps: int = 0, **options: float) -> GridLatentDenoiser:
    """Return a model with both parts initialised on x and, in turn, trained on batches of it."""
    torch.manual_seed(0)
    settings = {"autoencoder_width": 16, "width": 16, "latent_channels": 2, "downsampling": 4, "augment": 0.0}
    model = GridLatentDenoiser(Grid(x.shape[1], tuple(x.shape[2:])), {}, GridOptions(**(settings | options)))
    for phase in model.phases():
        model.initialize(phase.name, [Batch(x)])
        optimiser = torch.optim.AdamW(model.get_submodule(phase.module).parameters(), lr=4e-3)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = 4e-3 * (1 - step / steps)
            optimiser.zero_grad()
            model(Batch(x[torch.randint(len(x), (64,))]), phase.name).total.backward()
            optimiser.step()
    return model.eval()


def flat(count: int) -> Tensor:
    """Return items of one value each, -0.5 or 0.7, in all cells."""
    values = torch.where(torch.arange(count) % 2 == 0, -0.5, 0.7)
    return values.reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()


def test_latents_have_at_most_256_cells() -> None:
    sizes = {(8, 8): 2, (28, 28): 2, (64, 64): 4, (96, 96): 8, (128, 128): 8, (4096,): 16, (16, 64, 64): 8, (): 2}
    assert {size: GridOptions().factor(size) for size in sizes} == sizes
    model = GridLatentDenoiser(Grid(3, (20, 12)), {}, GridOptions(width=16, autoencoder_width=16, downsampling=8))
    assert model.latent == Grid(4, (3, 2))
    assert model.decode(torch.zeros(2, 4, 3, 2), {}, Noise.consecutive(0, 2)).shape == (2, 3, 20, 12)
    with pytest.raises(ValueError, match="power of 2"):
        GridOptions(downsampling=3)


def test_the_denoiser_sees_standardised_latents() -> None:
    x = 3 + 2 * torch.randn(4096, *SPACE.shape)
    model = model_of(x)
    z = (model.autoencoder.sample((x - 3) / 2) - model.latent_mean) / model.latent_deviation
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(2), atol=0.1, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(2), atol=0.1, rtol=0)


def test_reconstructions_and_samples_are_as_the_data_are() -> None:
    x = flat(64)
    model = model_of(x, steps=80)
    noise = Noise.consecutive(0, 64)
    with torch.no_grad():
        assert (model.decode(model.encode(Batch(x)), {}, noise) - x).abs().max() < 0.1
    *_, draft = model.generate(Request(noise), GridControls(steps=10))
    assert draft.known.all()
    distance = torch.stack([(draft.x - value).abs().mean((1, 2, 3)) for value in (-0.5, 0.7)])
    assert distance.amin(0).median() < 0.1
    assert 0.2 < (distance.argmin(0) == 0).float().mean() < 0.8


def test_a_latent_is_known_where_all_the_data_under_it_are() -> None:
    x = torch.randn(2, *SPACE.shape)
    model = model_of(x, inpaint_prob=0.5)
    known = torch.ones(2, *SPACE.shape, dtype=torch.bool)
    known[0, :, 3, 5] = False
    given = model._given_latents(Partial(x, known))
    assert given is not None
    assert given.known[:, 0].tolist() == [[[True, False], [True, True]], [[True, True], [True, True]]]
    other = model._given_latents(Partial(x.where(known, 9.0), known))
    assert other is not None
    torch.testing.assert_close(other.x, given.x, msg="the encoder saw what is missing")


def test_what_is_missing_follows_from_what_is_known() -> None:
    x = flat(64)
    model = model_of(x, steps=80, inpaint_prob=0.9)
    known = torch.ones(64, *SPACE.shape, dtype=torch.bool)
    known[..., 4:] = False
    request = Request(Noise.consecutive(0, 64), given=Partial(x, known))
    *_, draft = model.generate(request, GridControls(steps=10))
    assert torch.equal(draft.x[known], x[known])
    assert ((draft.x - x).abs()[~known].reshape(64, -1).mean(1) < 0.3).float().mean() > 0.9


def test_a_model_trained_to_inpaint_keeps_the_contract() -> None:
    options = {"width": 16, "autoencoder_width": 16, "latent_channels": 8, "inpaint_prob": 0.5}
    check_model(GridLatentDenoiser, options, controls={"steps": 2}, steps=10)


def test_what_is_given_in_part_is_refused_with_the_option_that_it_needs() -> None:
    x = torch.randn(4, *SPACE.shape)
    request = Request(Noise.consecutive(0, 4), given=Partial(x, torch.ones_like(x, dtype=torch.bool)))
    with pytest.raises(UserError, match=r"options\.inpaint-prob"):
        next(model_of(x).generate(request, GridControls()))


def test_few_pictures_are_augmented_and_nothing_else_is() -> None:
    def chosen(space: Grid, items: int, augment: float | None = None) -> float | None:
        return GridLatentDenoiser.resolve_options(GridOptions(augment=augment), space, items).augment

    pictures = Grid(1, (8, 8), step=2 / 255)
    assert chosen(pictures, 300) == 0.12
    assert (chosen(pictures, 60_000), chosen(pictures, 300, 0.0), chosen(Grid(3, (16,)), 300)) == (0, 0, 0)
    with pytest.raises(UserError, match="needs the axes height and width, and these items have time"):
        GridLatentDenoiser(Grid(3, (16,)), {}, GridOptions(width=16, autoencoder_width=16, augment=0.1))
    augmented = model_of(flat(64), augment=0.5).train()
    augmented(Batch(flat(64)), "denoiser").total.backward()
    weight = augmented.denoiser.get_parameter("augmentation.weight")
    assert weight.grad is not None
    assert weight.grad.isfinite().all()
