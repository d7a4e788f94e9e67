"""Encoder and decoder of token sequences: one transformer reads a sequence whole, another writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.errors import UserError
from ...core.noise import Noise
from ...core.space import Grid, Space, TokenSequence
from ...nn import nd
from ...nn.decode_step import DecodeStep
from ...nn.transformer import Transformer
from .base import Autoencoder
from .options import SequenceOptions

_BASE = 10_000.0  # of the rotary frequencies
# Positions from which the encoder's latent is read, and with which the decoder starts. After four minutes on one thread
# 83 of 128 held-out sentences of TinyStories were reconstructed exactly; 21 with the mean of all positions instead.
_SLOTS = 8


class SequenceAutoencoder(Autoencoder):
    """Bowman et al. (arXiv 1511.06349), with transformers: README, equation 8.

    The encoder gathers a sequence in a few slots, each of which gives a part of the latent. The decoder starts with
    those parts and reads the latent at every token, too. In training some of its previous tokens are hidden, because
    it would learn to ignore the latent.
    """

    def __init__(
        self, space: TokenSequence, latent: Grid, conditions: Mapping[str, Space], options: SequenceOptions
    ) -> None:
        super().__init__()
        self.space, self.hidden_token = space, space.vocab
        self.token_dropout = options.token_dropout
        width = -(-options.width // 16) * 16
        self.conditioner = Conditioner(conditions, width, options.condition_dropout)
        self.embed = nn.Embedding(space.vocab + 1, width)  # the last one stands for a hidden token
        self.slots = math.gcd(_SLOTS, latent.channels)
        self.encoder, self.decoder = (
            Transformer(
                size=(self.slots + space.context,),
                width=width,
                layers=options.layers,
                dropout=0.0,
                causal=causal,
                base=_BASE,
            )
            for causal in (False, True)
        )
        self.encoder_slots, self.decoder_slots = (nn.Parameter(torch.randn(self.slots, width)) for _ in range(2))
        # Tokens and latents are multiplied by a vector of their position: so their order matters from the start.
        self.encoder_positions, self.decoder_positions = (
            nn.Parameter(1 + 0.5 * torch.randn(space.context, width)) for _ in range(2)
        )
        own = latent.channels // self.slots
        self.moments, self.slot_in = nn.Linear(width, 2 * own), nn.Linear(own, width)
        self.latent_in = nn.Linear(latent.channels, width)
        self.head = nn.Linear(width, space.vocab)
        nd.zero(self.head)

    def _trimmed(self, x: Tensor) -> Tensor:
        """Return tokens `(B, n)` up to the longest sequence. Raises UserError where it is longer than the context."""
        ended = (x == self.space.end).cumsum(1) > 0
        x = x[:, : int((~ended).sum(1).max()) + 1]
        if x.shape[1] > self.space.context:
            raise UserError(
                f"an item has {x.shape[1]} tokens, start and end included, and this model holds {self.space.context}; "
                "fit with a larger --codec.context, or on shorter items"
            )
        return x

    def _inside(self, x: Tensor) -> Tensor:
        """Return which tokens belong to an item, bool `(B, n)`: all up to the first end, and that one."""
        ends = (x == self.space.end).long()
        return ends.cumsum(1) - ends == 0

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self._trimmed(x)
        inside = self._inside(x)
        tokens = self.embed(x) * self.encoder_positions[: x.shape[1]]
        mean = (tokens * inside.unsqueeze(-1)).sum(1, keepdim=True) / inside.sum(1)[:, None, None]
        inputs = torch.cat((mean * self.encoder_slots, tokens), dim=1)
        hidden = self.encoder(inputs, mask=F.pad(inside, (self.slots, 0), value=True)[:, None, None])
        mean, log_variance = self.moments(hidden[:, : self.slots]).float().chunk(2, dim=2)
        return mean.flatten(1), log_variance.flatten(1).clamp(-12, 4)

    def nll(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> Tensor:
        x = self._trimmed(x)
        previous = x[:, :-1]
        if self.training and self.token_dropout:
            dropped = torch.rand(previous.shape, device=x.device) < self.token_dropout
            previous = previous.masked_fill(dropped & (previous != self.space.start), self.hidden_token)
        context = self._context(z, condition) * self.decoder_positions[: previous.shape[1]]
        hidden = self.decoder(torch.cat((self._prefix(z), self.embed(previous) + context), dim=1))[:, self.slots :]
        each = F.cross_entropy(self.head(hidden).float().flatten(0, 1), x[:, 1:].flatten(), reduction="none")
        return (each.reshape(previous.shape) * self._inside(x)[:, 1:]).sum(1)

    def num_values(self, x: Tensor) -> Tensor:
        """Return how many tokens are predicted for an item on average: all but the start, with the end."""
        return self._inside(x)[:, 1:].sum(1).float().mean()

    def _prefix(self, z: Tensor) -> Tensor:
        """Return the inputs of the decoder before the first token, `(B, slots, width)`."""
        return self.slot_in(z.unflatten(1, (self.slots, -1))) + self.decoder_slots

    def _context(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Return what the decoder reads at every token, `(B, 1, width)`."""
        return (self.latent_in(z) + self.conditioner(condition, z).vector).unsqueeze(1)

    @torch.no_grad()
    def sample(self, z: Tensor, condition: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Return the sequence of each latent, `(B, context)`, padded with ends: always the most likely next token.

        `noise` is not used.
        """
        context = self._context(z, condition)
        x = torch.full((len(z), self.space.context), self.space.end, device=z.device)
        x[:, 0] = self.space.start
        done = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        cache, step = self.decoder.cache(len(z), context), DecodeStep(self.decoder, "fp32")
        self.decoder(self._prefix(z), cache)
        for at in range(1, x.shape[1]):
            inputs = self.embed(x[:, at - 1]) + context[:, 0] * self.decoder_positions[at - 1]
            logits = self.head(step(inputs, cache)).float()
            logits[:, self.space.start] = -torch.inf
            x[:, at] = logits.argmax(1).masked_fill(done, self.space.end)
            done |= x[:, at] == self.space.end
            if bool(done.all()):
                break
        return x
