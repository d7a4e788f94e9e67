"""A vae of sequences: what is modelled, that the latent tells the item, and the bound."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens

from .model import VariationalAutoencoder
from .options import Controls, Options
from .sequences import SequenceAutoencoder

END, START = 3, 4
SPACE = Tokens(5, (8,), end=END, start=START)


def rows(words: list[list[int]], width: int = 8) -> Tensor:
    return torch.tensor([[START, *word, *[END] * (width - 1 - len(word))] for word in words])


def made(**options: float) -> VariationalAutoencoder:
    torch.manual_seed(0)
    return VariationalAutoencoder(SPACE, {}, Options(width=32, layers=2, prior="normal", **options))


def random(model: VariationalAutoencoder) -> SequenceAutoencoder:
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    part = model.eval().autoencoder
    assert isinstance(part, SequenceAutoencoder)
    return part


def test_probabilities_of_all_items_given_a_latent_sum_to_one() -> None:
    part = random(made())
    z = torch.randn(1, 128)
    with torch.no_grad():
        short = [list(word) for n in range(3) for word in itertools.product(range(3), repeat=n)]
        total = (-part.nats(z.expand(len(short), -1), {}, rows(short))).exp().sum()
        # Longer ones, by the two symbols they begin with; and those with a start in them, which nobody draws.
        symbols = [0, 1, 2, START]
        begun = [[START, *word] for word in itertools.product(symbols, repeat=3)]
        begun += [
            [START, *word, END] for n in range(3) for word in itertools.product(symbols, repeat=n) if START in word
        ]
        for row in begun:
            total += (-part.nats(z, {}, torch.tensor([row]))).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)


def test_what_follows_an_end_changes_nothing() -> None:
    model = made()
    part = random(model)
    x = rows([[0, 1], [2, 2, 1, 0]])
    wider = rows([[0, 1], [2, 2, 1, 0]], width=14)
    z = torch.randn(2, 128)
    torch.testing.assert_close(part.nats(z, {}, x), part.nats(z, {}, wider))
    for ours, theirs in zip(part.posterior(x), part.posterior(wider), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(part.posterior(x[:1])[0], part.posterior(x)[0][:1])


def test_the_latent_tells_the_item_and_lies_between_others() -> None:
    words = [list(word) for word in itertools.product(range(3), repeat=4)]
    x = rows(words)
    model = made(latent_channels=32, free_bits=0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(300):
        model.train()
        optimizer.zero_grad()
        loss = model(Batch(x))
        loss.total.backward()
        optimizer.step()
        model.adapt((step + 1) / 300, step, {})
    model.eval()
    z = model.encode(Batch(x))
    again = model.decode(z, {})
    right = (again[:, :6] == x[:, :6]).all(1).float().mean()
    assert right > 0.9
    # From one to the other, and what a latent says is the same alone.
    path = model.decode(torch.lerp(z[0], z[-1], torch.linspace(0, 1, 5)[:, None]), {})
    assert path[0].tolist() == again[0].tolist()
    assert path[-1].tolist() == again[-1].tolist()
    assert model.decode(z[5:6], {}).tolist() == again[5:6].tolist()
    # Each of the 81 is as likely: a bound above their entropy.
    bound = -model.log_likelihood(Batch(x), Noise.count(0, len(x))).mean()
    assert 4.39 < float(bound) < 12


@pytest.mark.parametrize("channels", [1, 12, 24])
def test_a_latent_has_the_numbers_that_were_asked_for_and_all_tell_of_the_item(channels: int) -> None:
    model = made(latent_channels=channels)
    part = random(model)
    x = rows([[0, 1], [2, 2, 1, 0]])
    z = model.encode(Batch(x))
    assert z.shape == (2, channels)
    said = part.nats(z.requires_grad_(), {}, x).sum()
    (gradient,) = torch.autograd.grad(said, z)
    assert (gradient != 0).all()


def test_samples_are_alike_in_any_batch() -> None:
    model = made()
    random(model)
    *_, both = model.generate(Request(Noise.count(0, 3)), Controls())
    *_, alone = model.generate(Request(Noise.count(1, 1)), Controls())
    assert both.x[1].tolist() == alone.x[0].tolist()
    assert (both.x[:, 0] == START).all()


def test_items_longer_than_the_context_are_refused() -> None:
    model = made()
    with pytest.raises(UserError, match="this vae holds 8"):
        model.encode(Batch(rows([[0] * 9], width=12)))
    with pytest.raises(UserError, match="start and an end"):
        VariationalAutoencoder(Tokens(5, (4, 4)), {}, Options())
