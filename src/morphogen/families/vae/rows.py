"""Rows of columns as one latent vector each: a perceptron reads the symbols at once, another says all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.space import Continuous, Space, Tokens
from ...nn.mlp import MLP
from ...nn.ordered import embedding_table, smooth
from ...sampling.logits import draw
from .options import Options

_LAYERS = 2  # of the reader and of the writer
_WIDER = 4  # than `width` says, which is of channels of pictures
_GRAIN = 4.0  # latents are told apart by so many steps to 1, where nothing else settles what is drawn


class RowAutoencoder(nn.Module):
    """Symbols of a row given its latent do not depend on each other, but for those of one part: README, equation 9."""

    features: Tensor
    begins: Tensor

    def __init__(self, space: Tokens, latent: Continuous, conditions: Mapping[str, Space], options: Options) -> None:
        super().__init__()
        assert isinstance(space.vocab, tuple)
        self.sizes = list(space.vocab[: len(space.vocab) - space.even])
        self.even = list(space.vocab[len(self.sizes) :])
        width = _WIDER * options.width
        # The place of each position in its part.
        self.place = [place for size in space.parts for place in range(size)]
        self.register_buffer("features", torch.cat([smooth(size) for size in self.sizes]), persistent=False)
        self.register_buffer("begins", torch.tensor([0, *accumulate(self.sizes)][:-1]), persistent=False)
        total, scale = sum(self.sizes), 1 / math.sqrt(len(self.sizes))
        self.read, self.said = (nn.Parameter(scale * torch.randn(total, width)) for _ in range(2))
        self.read_waves, self.said_waves = (
            nn.Parameter(0.5 * scale * torch.randn(len(self.sizes), self.features.shape[1], width)) for _ in range(2)
        )
        self.conditioner = Conditioner(conditions, width, options.condition_drop)
        shape = {"width": width, "layers": _LAYERS, "embedding": width, "dropout": 0.0}
        self.reader = MLP(features_in=width, features_out=2 * latent.channels, **shape)  # type: ignore[arg-type]
        # The head of a perceptron starts at zero, where a reader would tell nothing of x.
        self.reader.head = nn.Linear(width, 2 * latent.channels)
        self.writer = MLP(features_in=latent.channels, features_out=width, **shape)  # type: ignore[arg-type]
        self.writer.head = nn.Linear(width, width)
        self.head = nn.Parameter(torch.zeros(total, width))
        self.head_bias = nn.Parameter(torch.zeros(total))

    def begin(self, x: Tensor) -> None:
        """The first guess is the frequencies of symbols, of rows `(B, n)`."""
        for position, (begin, size) in enumerate(zip(self.begins.tolist(), self.sizes, strict=True)):
            often = x[:, position].bincount(minlength=size).float() + 0.1
            self.head_bias[begin : begin + size] = (often / often.sum()).log()

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each `(B, channels)`."""
        table = embedding_table(self.read, self.read_waves, self.features, self.sizes)
        told = F.embedding_bag(x[:, : len(self.sizes)] + self.begins, table, mode="sum")
        mean, log_variance = self.reader(told, torch.zeros_like(told)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def symbols(self, x: Tensor) -> Tensor:
        """How many of each row are modelled, `(B,)`."""
        return torch.full((len(x),), len(self.sizes), device=x.device)

    def nats(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """−ln p(x|z) of rows `(B, n)`, `(B,)`."""
        return torch.stack(
            [F.cross_entropy(logits, x[:, at], reduction="none") for at, logits in self._logits(z, condition, x)]
        ).sum(0)

    def _logits(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Of each position, in order, `(B, alphabet)` given z and the symbols of x before it in the same part."""
        hidden = self.writer(z, self.conditioner(condition, z).vector)
        table = embedding_table(self.said, self.said_waves, self.features, self.sizes)
        told = hidden
        for at, (begin, size) in enumerate(zip(self.begins.tolist(), self.sizes, strict=True)):
            told = told + F.embedding(x[:, at - 1] + self.begins[at - 1], table) if self.place[at] else hidden
            own = slice(begin, begin + size)
            yield at, F.linear(F.silu(told), self.head[own], self.head_bias[own]).float()

    @torch.no_grad()
    def draw(self, z: Tensor, condition: Mapping[str, Tensor], uniform: Tensor) -> Tensor:
        """Rows `(B, n)` by the numbers `uniform` `(B, n)` in (0, 1), one a symbol."""
        x = torch.zeros(uniform.shape, dtype=torch.int64, device=z.device)
        for at, logits in self._logits(z, condition, x):
            x[:, at] = draw(logits.softmax(-1), uniform[:, at])
        for at, alphabet in enumerate(self.even, start=len(self.sizes)):
            x[:, at] = (uniform[:, at].double() * alphabet).long().clamp(max=alphabet - 1)
        return x

    @torch.no_grad()
    def items(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Rows `(B, n)` drawn by numbers that z itself settles: its likeliest row would not be like the data's."""
        return self.draw(z, condition, _settled_by(z, len(self.sizes) + len(self.even)))


def _settled_by(z: Tensor, count: int) -> Tensor:
    """Numbers in (0, 1), `(B, count)`, that are as good as drawn, of latents as far as they are told apart."""
    # Steele et al. (2014), the finaliser of SplitMix64, in integers that wrap.
    steps = (z * _GRAIN).round().to(torch.int64)
    word = torch.zeros(len(z), dtype=torch.int64, device=z.device)
    for channel in steps.unbind(1):
        word = _mixed(word ^ channel)
    place = torch.arange(1, count + 1, device=z.device) * -7046029254386353131
    words = _mixed(word[:, None] + place)
    return ((words >> 40) & (2**24 - 1)).double().add_(0.5).mul_(2.0**-24)


def _mixed(word: Tensor) -> Tensor:
    word = (word ^ ((word >> 30) & (2**34 - 1))) * -4658895280553007687
    word = (word ^ ((word >> 27) & (2**37 - 1))) * -7723592293110705685
    return word ^ ((word >> 31) & (2**33 - 1))
