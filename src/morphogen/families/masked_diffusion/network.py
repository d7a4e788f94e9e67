"""The network that predicts masked tokens from visible ones, its loss and its bound. Equations: README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.condition import Conditioner
from ...core.noise import Noise
from ...core.space import Space
from ...nn import nd
from ...nn.position_embedding import PositionEmbedding
from ...nn.rotary import GRID_BASE, SEQUENCE_BASE
from ...nn.transformer import Transformer
from .local_context import LocalContext
from .masks import attention_mask, random_mask
from .options import Options

_STRATA = 16  # shares of masked tokens at which the bound is evaluated
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are evenly spread, however many there are


class MaskedTransformer(nn.Module):
    """A bidirectional transformer over tokens and masks.

    Tokens of a grid (`absolute`) know their place, those of a sequence the tokens around them. `excluded` tokens are
    never predicted.
    """

    excluded: Tensor

    def __init__(
        self,
        vocab: int,
        size: Sequence[int],
        conditions: Mapping[str, Space],
        options: Options,
        *,
        absolute: bool,
        excluded: Sequence[int] = (),
    ) -> None:
        super().__init__()
        width, self.vocab = options.width, vocab
        self.register_buffer("excluded", torch.tensor(list(excluded), dtype=torch.int64), persistent=False)
        self.embed = nn.Embedding(vocab + 1, width)  # the last one is the mask
        self.positions = PositionEmbedding(size, width) if absolute else None
        self.local_context = None if absolute else LocalContext(width)
        self.conditioner = Conditioner(conditions, width, options.condition_dropout)
        self.transformer = Transformer(
            size=size,
            width=width,
            layers=options.layers,
            dropout=options.dropout,
            causal=False,
            base=GRID_BASE if absolute else SEQUENCE_BASE,
        )
        self.head = nn.Linear(width, vocab)
        nd.zero(self.head)

    @property
    def device(self) -> torch.device:
        return self.embed.weight.device

    def initialize(self, counts: Tensor) -> None:
        """Set the head's bias to the log-frequencies of the tokens, from counts `(vocab,)`."""
        self.head.bias.copy_((counts / counts.sum()).log())

    def read(self, x: Tensor, masked: Tensor, condition: Tensor, item: Tensor | None) -> Tensor:
        """Return the hidden vectors `(B, n, width)` of x `(B, n)`, of which the `masked` tokens are not read.

        `condition` `(B, width)`; tokens see those of their own `item` `(B, n)` (None: a sequence is one item).
        """
        embedded = self.embed(x.masked_fill(masked, self.vocab))
        inputs = embedded + condition.unsqueeze(1)
        if self.positions is not None:
            inputs = inputs + self.positions()
        mask = None if item is None else attention_mask(item)
        if self.local_context is not None:
            inputs = inputs + self.local_context(embedded, None if mask is None else item)
        return self.transformer(inputs, mask=mask)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits `(…, vocab)` of hidden vectors `(…, width)`, −∞ for excluded tokens."""
        return self.exclude(self.head(hidden).float())

    def exclude(self, logits: Tensor) -> Tensor:
        return logits.index_fill(-1, self.excluded, -torch.inf) if len(self.excluded) else logits

    def loss(self, x: Tensor, item: Tensor, modelled: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Return the nats per modelled token of sequences x `(B, n)`, README equation 2."""
        items = item.amax(1, keepdim=True) + 1
        number = item + items.cumsum(0) - items
        # Each item of the batch has a t of its own, and together they are evenly spread.
        t = (torch.rand((), device=x.device) + _GOLDEN * number.double()).frac()
        masked, weight = random_mask(item, modelled, t, torch.rand(x.shape, device=x.device))
        vector = self.conditioner(condition, x).vector
        nats = self.nats(x, masked, vector, item) * weight
        return nats.sum() / modelled.sum().clamp(min=1)

    def nats(self, x: Tensor, masked: Tensor, condition: Tensor, item: Tensor | None) -> Tensor:
        """Return −ln p of each masked token given those that are not masked, `(B, n)`; 0 for the others."""
        logits = self.logits(self.read(x, masked, condition, item))
        target = x.masked_fill(~masked, -1).flatten()
        return F.cross_entropy(logits.flatten(0, 1), target, reduction="none", ignore_index=-1).reshape(x.shape)

    def bound(
        self, x: Tensor, modelled: Tensor, inside: Tensor | None, condition: Tensor, noise: Noise, at: int | Tensor
    ) -> Tensor:
        """Return an upper bound, in expectation, of the nats of the modelled tokens given the others, `(B,)`.

        `inside` bool `(B, n)`: the tokens that exist (None: all); `at`, one or `(B,)`, numbers uses of one noise.
        """
        item = torch.zeros_like(x)
        own = None if inside is None else item.where(inside, -1)
        within = noise.uniform("stratum", (_STRATA,), at).to(x.device)
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for stratum in range(_STRATA):
            t = (stratum + within[:, stratum : stratum + 1].double()) / _STRATA
            uniform = noise.uniform("masked", (x.shape[1],), _STRATA * at + stratum).to(x.device)
            masked, weight = random_mask(item, modelled, t, uniform)
            total += (self.nats(x, masked, condition, own) * weight).sum(1, dtype=torch.float64)
        return (total / _STRATA).float()
