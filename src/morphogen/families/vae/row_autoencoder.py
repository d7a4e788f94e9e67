"""Encoder and decoder of rows: a perceptron reads all tokens of a row at once, another predicts all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.noise import Noise
from ...core.space import Grid, Row, Space
from ...nn.field_tokens import FieldTokens
from ...nn.mlp import MLP
from ...nn.ordinal_embedding import ordinal_embeddings, smooth
from ...sampling.logits import draw
from .base import Autoencoder
from .options import RowOptions

_LAYERS = 2  # of the encoder, and of the decoder


class RowAutoencoder(Autoencoder):
    """Given the latent, fields are independent, and a field's second token depends on its first: README, equation 9."""

    features: Tensor
    begins: Tensor

    def __init__(self, space: Row, latent: Grid, conditions: Mapping[str, Space], options: RowOptions) -> None:
        super().__init__()
        self.tokens = FieldTokens(space)
        sizes, width = self.tokens.sizes, options.width
        self.register_buffer("features", torch.cat([smooth(size) for size in sizes]), persistent=False)
        self.register_buffer("begins", torch.tensor([0, *accumulate(sizes)][:-1]), persistent=False)
        total, scale = sum(sizes), 1 / math.sqrt(len(sizes))
        self.encoder_embed, self.decoder_embed = (nn.Parameter(scale * torch.randn(total, width)) for _ in range(2))
        self.encoder_waves, self.decoder_waves = (
            nn.Parameter(0.5 * scale * torch.randn(len(sizes), self.features.shape[1], width)) for _ in range(2)
        )
        self.conditioner = Conditioner(conditions, width, options.condition_dropout)
        shape = {"width": width, "layers": _LAYERS, "embedding": width, "dropout": 0.0}
        self.encoder = MLP(features_in=width, features_out=2 * latent.channels, **shape)  # type: ignore[arg-type]
        # The head of an MLP starts at zero, with which the latent would not depend on x.
        self.encoder.head = nn.Linear(width, 2 * latent.channels)
        self.decoder = MLP(features_in=latent.channels, features_out=width, **shape)  # type: ignore[arg-type]
        self.decoder.head = nn.Linear(width, width)
        self.head = nn.Parameter(torch.zeros(total, width))
        self.head_bias = nn.Parameter(torch.zeros(total))
        # Which second tokens cannot follow each first one, by position.
        self.impossible = nn.Module()
        for position, (field, place) in enumerate(zip(self.tokens.field, self.tokens.place, strict=True)):
            if place:
                ones, first = torch.ones(1, space.fields[field].size), torch.arange(sizes[position - 1])
                mask = self.tokens.fine(field, ones, first) == 0
                self.impossible.register_buffer(str(position), mask, persistent=False)

    @torch.no_grad()
    def set_frequencies(self, x: Tensor) -> None:
        """Let the first predictions be the frequencies of tokens in rows `(N, fields)`."""
        tokens = self.tokens.encode(x)
        for position, (begin, size) in enumerate(zip(self.begins.tolist(), self.tokens.sizes, strict=True)):
            count = tokens[:, position].bincount(minlength=size).float() + 0.1
            self.head_bias[begin : begin + size] = (count / count.sum()).log()

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        table = ordinal_embeddings(self.encoder_embed, self.encoder_waves, self.features, self.tokens.sizes)
        hidden = F.embedding_bag(self.tokens.encode(x) + self.begins, table, mode="sum")
        mean, log_variance = self.encoder(hidden, torch.zeros_like(hidden)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def nll(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> Tensor:
        tokens = self.tokens.encode(x)
        parts = [
            F.cross_entropy(logits, tokens[:, position], reduction="none")
            for position, logits in enumerate(self._logits(z, condition, tokens))
        ]
        return torch.stack(parts).sum(0)

    def _logits(self, z: Tensor, condition: Mapping[str, Tensor], tokens: Tensor) -> Iterator[Tensor]:
        """Yield the logits `(B, size)` of each position, in order, given z and the field's tokens before it."""
        hidden = self.decoder(z, self.conditioner(condition, z).vector)
        table = ordinal_embeddings(self.decoder_embed, self.decoder_waves, self.features, self.tokens.sizes)
        for position, (begin, size) in enumerate(zip(self.begins.tolist(), self.tokens.sizes, strict=True)):
            own = slice(begin, begin + size)
            if not self.tokens.place[position]:
                yield F.linear(F.silu(hidden), self.head[own], self.head_bias[own]).float()
                continue
            first = tokens[:, position - 1]
            context = hidden + F.embedding(first + self.begins[position - 1], table)
            logits = F.linear(F.silu(context), self.head[own], self.head_bias[own]).float()
            yield logits.masked_fill(self.impossible.get_buffer(str(position))[first], -torch.inf)

    @torch.no_grad()
    def sample(self, z: Tensor, condition: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Return a random row of each latent; the most likely one would not be distributed as the data are."""
        uniform = noise.uniform("tokens", (len(self.tokens.sizes),)).to(z.device)
        tokens = torch.zeros(uniform.shape, dtype=torch.int64, device=z.device)
        for position, logits in enumerate(self._logits(z, condition, tokens)):
            tokens[:, position] = draw(logits.softmax(-1), uniform[:, position])
        return self.tokens.decode(tokens)

    def num_values(self, x: Tensor) -> Tensor:
        return torch.tensor(float(len(self.tokens.sizes)))
