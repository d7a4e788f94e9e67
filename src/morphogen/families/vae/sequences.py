"""Sequences of symbols as one latent vector each: one transformer reads an item whole, another writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.errors import UserError
from ...core.space import Continuous, Space, Tokens
from ...nn import nd
from ...nn.step import Step
from ...nn.transformer import Transformer
from .options import Options

_BASE = 10_000.0  # of the rotary frequencies
# Cells that a latent is read into and written from. Of sentences of TinyStories kept from training, four minutes of one
# thread, 83 of 128 came back as they were; where a mean of what is read is the latent, 21.
_SLOTS = 8


class SequenceAutoencoder(nn.Module):
    """Bowman et al. (arXiv 1511.06349), with transformers: README, equation 8.

    The reader gathers an item in a few slots, each of which is a part of the latent; the writer begins with them and is
    told the latent at every symbol, too. In training it is denied a share of the symbols before: else it would learn to
    do without the latent.
    """

    def __init__(self, space: Tokens, latent: Continuous, conditions: Mapping[str, Space], options: Options) -> None:
        super().__init__()
        if space.start is None or space.end is None or not isinstance(space.vocab, int):
            raise UserError(f"a vae models numbers, or sequences with a start and an end, not {space}")
        self.space, self.start, self.end, self.hidden = space, space.start, space.end, space.vocab
        self.word_drop = options.word_drop
        width = -(-options.width // 16) * 16
        self.conditioner = Conditioner(conditions, width, options.condition_drop)
        self.embed = nn.Embedding(space.vocab + 1, width)  # the last one stands for a symbol that is not told
        self.slots = math.gcd(_SLOTS, latent.channels)
        self.reader, self.writer = (
            Transformer(
                size=(self.slots + space.size[0],),
                width=width,
                layers=options.layers,
                dropout=0.0,
                causal=causal,
                base=_BASE,
            )
            for causal in (False, True)
        )
        self.slots_read, self.slots_written = (nn.Parameter(torch.randn(self.slots, width)) for _ in range(2))
        # Symbols, and a latent, times a vector of their place: so that they tell their order from the start.
        self.places_read, self.places_written = (
            nn.Parameter(1 + 0.5 * torch.randn(space.size[0], width)) for _ in range(2)
        )
        own = latent.channels // self.slots
        self.moments, self.begin = nn.Linear(width, 2 * own), nn.Linear(own, width)
        self.tell = nn.Linear(latent.channels, width)
        self.head = nn.Linear(width, space.vocab)
        nd.zero(self.head)

    def _trimmed(self, x: Tensor) -> Tensor:
        """Rows `(B, n)` up to the longest item in them. Raises UserError where it does not fit."""
        ended = (x == self.end).cumsum(1) > 0
        x = x[:, : int((~ended).sum(1).max()) + 1]
        if x.shape[1] > self.space.size[0]:
            raise UserError(
                f"an item has {x.shape[1]} symbols, start and end included, and this vae holds {self.space.size[0]}; "
                "fit with a larger --codec.context, or on shorter items"
            )
        return x

    def _inside(self, x: Tensor) -> Tensor:
        """Bool `(B, n)`: all up to the first end, which is of the item."""
        ends = (x == self.end).long()
        return ends.cumsum(1) - ends == 0

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each `(B, channels)`."""
        x = self._trimmed(x)
        inside = self._inside(x)
        symbols = self.embed(x) * self.places_read[: x.shape[1]]
        mean = (symbols * inside.unsqueeze(-1)).sum(1, keepdim=True) / inside.sum(1)[:, None, None]
        cells = torch.cat((mean * self.slots_read, symbols), dim=1)
        hidden = self.reader(cells, mask=F.pad(inside, (self.slots, 0), value=True)[:, None, None])
        mean, log_variance = self.moments(hidden[:, : self.slots]).float().chunk(2, dim=2)
        return mean.flatten(1), log_variance.flatten(1).clamp(-12, 4)

    def symbols(self, x: Tensor) -> Tensor:
        """How many of each row `(B, n)` are modelled: all but what it begins with, and the end."""
        return self._inside(x)[:, 1:].sum(1)

    def nats(self, z: Tensor, condition: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """−ln p(x|z) of rows `(B, n)`, `(B,)`."""
        x = self._trimmed(x)
        read = x[:, :-1]
        if self.training and self.word_drop:
            dropped = torch.rand(read.shape, device=x.device) < self.word_drop
            read = read.masked_fill(dropped & (read != self.start), self.hidden)
        told = self._told(z, condition) * self.places_written[: read.shape[1]]
        hidden = self.writer(torch.cat((self._begun(z), self.embed(read) + told), dim=1))[:, self.slots :]
        each = F.cross_entropy(self.head(hidden).float().flatten(0, 1), x[:, 1:].flatten(), reduction="none")
        return (each.reshape(read.shape) * self._inside(x)[:, 1:]).sum(1)

    def _begun(self, z: Tensor) -> Tensor:
        """What is written before the first symbol, `(B, slots, width)`."""
        return self.begin(z.unflatten(1, (self.slots, -1))) + self.slots_written

    def _told(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """`(B, 1, width)`."""
        return (self.tell(z) + self.conditioner(condition, z).vector).unsqueeze(1)

    @torch.no_grad()
    def items(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """The likeliest symbol after the other, `(B, context)`, filled up with ends."""
        told = self._told(z, condition)
        x = torch.full((len(z), self.space.size[0]), self.end, device=z.device)
        x[:, 0] = self.start
        done = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        cache, step = self.writer.cache(len(z), told), Step(self.writer, "fp32")
        self.writer(self._begun(z), cache)
        for at in range(1, x.shape[1]):
            read = self.embed(x[:, at - 1]) + told[:, 0] * self.places_written[at - 1]
            logits = self.head(step(read, cache)).float()
            logits[:, self.start] = -torch.inf
            x[:, at] = logits.argmax(1).masked_fill(done, self.end)
            done |= x[:, at] == self.end
            if bool(done.all()):
                break
        return x
