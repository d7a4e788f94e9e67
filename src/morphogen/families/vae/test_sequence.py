"""The VAE of token sequences: its probabilities, reconstruction, and the bound."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Request
from morphogen.core.noise import Noise
from morphogen.core.space import TokenSequence

from .options import Controls, SequenceOptions
from .sequence import SequenceVAE

END, START = 3, 4
SPACE = TokenSequence(5, 8, START, END)


def padded(words: list[list[int]], width: int = 8) -> Tensor:
    return torch.tensor([[START, *word, *[END] * (width - 1 - len(word))] for word in words])


def untrained(**options: float) -> SequenceVAE:
    torch.manual_seed(0)
    return SequenceVAE(SPACE, {}, SequenceOptions(width=32, layers=2, prior="normal", **options))


def random(**options: float) -> SequenceVAE:
    model = untrained(**options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def decoded(model: SequenceVAE, z: Tensor) -> list[list[int]]:
    return model.decode(z, {}, Noise.consecutive(0, len(z))).tolist()


def test_probabilities_of_all_items_given_a_latent_sum_to_one() -> None:
    nll = random().autoencoder.nll
    z = torch.randn(1, 128)
    with torch.no_grad():
        short = [list(word) for n in range(3) for word in itertools.product(range(3), repeat=n)]
        total = (-nll(z.expand(len(short), -1), {}, padded(short))).exp().sum()
        # Longer ones, by the three tokens they begin with; and those with a start in them, which are never sampled.
        tokens = [0, 1, 2, START]
        prefixes = [[START, *word] for word in itertools.product(tokens, repeat=3)]
        prefixes += [
            [START, *word, END] for n in range(3) for word in itertools.product(tokens, repeat=n) if START in word
        ]
        for prefix in prefixes:
            total += (-nll(z, {}, torch.tensor([prefix]))).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)


def test_tokens_after_an_end_change_nothing() -> None:
    part = random().autoencoder
    x = padded([[0, 1], [2, 2, 1, 0]])
    wider = padded([[0, 1], [2, 2, 1, 0]], width=14)
    z = torch.randn(2, 128)
    torch.testing.assert_close(part.nll(z, {}, x), part.nll(z, {}, wider))
    for ours, theirs in zip(part.posterior(x), part.posterior(wider), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(part.posterior(x[:1])[0], part.posterior(x)[0][:1])


def test_a_trained_model_reconstructs_its_items() -> None:
    x = padded([list(word) for word in itertools.product(range(3), repeat=4)])
    model = untrained(latent_channels=32, free_bits=0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(180):
        model.train()
        optimizer.zero_grad()
        model(Batch(x)).total.backward()
        optimizer.step()
        model.on_step_end((step + 1) / 180, step, {})
    model.eval()
    z = model.encode(Batch(x))
    reconstructed = torch.tensor(decoded(model, z))
    assert (reconstructed[:, :6] == x[:, :6]).all(1).float().mean() > 0.9
    # A latent decodes to the same alone, and at the ends of a line between two latents.
    line = decoded(model, torch.lerp(z[0], z[-1], torch.linspace(0, 1, 5)[:, None]))
    assert [line[0], line[-1]] == reconstructed[[0, -1]].tolist()
    assert decoded(model, z[5:6]) == reconstructed[5:6].tolist()
    # Each of the 81 items is as likely: the bound is above their entropy.
    bound = -model.log_likelihood(Batch(x), Noise.consecutive(0, len(x))).mean()
    assert 4.39 < float(bound) < 12


@pytest.mark.parametrize("channels", [1, 12, 24])
def test_every_channel_of_the_latent_matters(channels: int) -> None:
    model = random(latent_channels=channels)
    x = padded([[0, 1], [2, 2, 1, 0]])
    z = model.encode(Batch(x))
    assert z.shape == (2, channels)
    nats = model.autoencoder.nll(z.requires_grad_(), {}, x).sum()
    (gradient,) = torch.autograd.grad(nats, z)
    assert (gradient != 0).all()


def test_samples_are_the_same_in_any_batch() -> None:
    model = random()
    *_, both = model.generate(Request(Noise.consecutive(0, 3)), Controls())
    *_, alone = model.generate(Request(Noise.consecutive(1, 1)), Controls())
    assert both.x[1].tolist() == alone.x[0].tolist()
    assert (both.x[:, 0] == START).all()


def test_items_longer_than_the_context_are_refused() -> None:
    with pytest.raises(UserError, match="has 11 tokens, start and end included, and this model holds 8"):
        untrained().encode(Batch(padded([[0] * 9], width=12)))
