"""Masked diffusion of grids of tokens. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from ...core.model import Batch, GenerativeModel, LikelihoodModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Space, Tokens
from ...nn.hidden_matrices import hidden_matrices
from . import options as settings
from .network import MaskedTransformer
from .sampler import MaskedSequences, request_condition, unmask


class MaskedDiffusionTokens(GenerativeModel, LikelihoodModel):
    """A bidirectional transformer over a grid of tokens and masks; the likelihood is a lower bound."""

    Options = settings.Options
    Controls = settings.TokensControls
    exact = False
    supports_given = True
    early_stopping = True

    space: Tokens

    def __init__(self, space: Tokens, conditions: Mapping[str, Space], options: settings.Options) -> None:
        super().__init__(space, conditions, options)
        self.network = MaskedTransformer(space.vocab, space.size, conditions, options, absolute=True)

    def phases(self) -> tuple[Phase]:
        return (Phase(lr=4e-3, muon=hidden_matrices(self)),)

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        """Set the head's bias to the log-frequencies of the tokens."""
        counts = torch.ones(self.space.vocab, dtype=torch.float64, device=self.device)
        for batch in batches:
            counts += batch.x.flatten().bincount(minlength=self.space.vocab)
        self.network.initialize(counts)

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """Return the nats per token, README equation 2."""
        x = batch.x.flatten(1)
        modelled = torch.ones_like(x, dtype=torch.bool)
        return Loss(self.network.loss(x, torch.zeros_like(x), modelled, batch.condition))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, noise: Noise) -> Tensor:
        """Return a lower bound of the log-likelihood, `(B,)`, README equation 3."""
        x = batch.x.flatten(1)
        vector = self.network.conditioner(batch.condition, x).vector
        return -self.network.bound(x, torch.ones_like(x, dtype=torch.bool), None, vector, noise, 0)

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.TokensControls) -> Iterator[Partial]:
        # In fp32: with half precision, rounding depends on the batch, and a token would now and then differ.
        with torch.autocast(self.device.type, enabled=False):
            yield from self._generate(request, controls)

    def _generate(self, request: Request, controls: settings.TokensControls) -> Iterator[Partial]:
        count, size = len(request), self.space.size
        x = torch.zeros(count, self.space.dimensions, dtype=torch.int64, device=self.device)
        known = torch.zeros_like(x, dtype=torch.bool)
        if request.given is not None:
            known = request.given.known.to(x.device).expand(count, *size).reshape(x.shape).clone()
            x = torch.where(known, request.given.x.to(x).reshape(x.shape), x)
        condition = request_condition(self.network, request, controls)
        uniforms = (request.noise.uniform(name, (x.shape[1],)).to(x.device) for name in ("symbols", "order"))
        for _ in unmask(self.network, controls, MaskedSequences(x, known, None, condition, *uniforms)):
            if request.drafts and not bool(known.all()):
                yield Partial(x.reshape(count, *size), known.reshape(count, *size))
        x = x.reshape(count, *size)
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))
