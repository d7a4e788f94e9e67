"""Rows, one token after the other, by small perceptrons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core.model import Batch, GenerativeModel, LikelihoodModel, Loss, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Row, Space
from morphogen.nn.field_tokens import FieldTokens
from morphogen.sampling.logits import draw

from . import options as settings


class NextField(GenerativeModel, LikelihoodModel):
    """Predicts each token of a row from the tokens before it."""

    Options = settings.RowOptions
    Controls = settings.RowControls
    exact = False  # a few token pairs stand for no index, and take some probability
    supports_conditions = False

    def __init__(self, space: Row, conditions: Mapping[str, Space], options: settings.RowOptions) -> None:
        super().__init__(space, conditions, options)
        self.tokens = FieldTokens(space)  # one token for each field, two for a number of many intervals
        width, sizes = options.width, self.tokens.sizes
        self.start = nn.Parameter(torch.zeros(width))
        self.embed = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, size)) for size in sizes
        )

    def _nats(self, x: Tensor) -> Tensor:
        """Return −ln p of rows x, int64 `(B, fields)`: `(B,)`."""
        tokens, state = self.tokens.encode(x), self.start.expand(len(x), -1)
        nats = torch.zeros(len(x), device=x.device)
        for embed, head, own in zip(self.embed, self.heads, tokens.unbind(1), strict=True):
            nats = nats + F.cross_entropy(head(state).float(), own, reduction="none")
            state = state + embed(own)
        return nats

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        return Loss(self._nats(batch.x).mean() / len(self.tokens.sizes))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        return -self._nats(batch.x)

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.RowControls) -> Iterator[Partial]:
        uniform = request.noise.uniform("tokens", (len(self.tokens.sizes),)).to(self.device)
        tokens, state = torch.zeros_like(uniform, dtype=torch.int64), self.start.expand(len(uniform), -1)
        for position, (embed, head) in enumerate(zip(self.embed, self.heads, strict=True)):
            probabilities = (head(state).float() / controls.temperature).softmax(-1)
            tokens[:, position] = draw(probabilities, uniform[:, position])
            state = state + embed(tokens[:, position])
        x = self.tokens.decode(tokens)
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))
