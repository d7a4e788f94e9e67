"""From vectors to symbols and back: finite scalar quantisation, and a learned codebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...nn.ranks import from_first_process, sum_over_processes


class Quantised(NamedTuple):
    """What a quantiser makes of vectors `(N, width)`."""

    z: Tensor  # (N, width), with gradients passed straight through
    code: Tensor  # (N,) int64
    commitment: Tensor  # scalar, what keeps the vectors near their codes; 0 where there is no need


class FiniteScalar(nn.Module):
    """Each channel rounded to one of a few levels, all combinations being the codebook (FSQ, arXiv 2309.15505)."""

    levels: Tensor
    place: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.width, self.vocab = len(levels), math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("place", torch.tensor([1, *levels[:-1]]).cumprod(0), persistent=False)

    def forward(self, z: Tensor) -> Quantised:
        """Section 3.1: bounded to the span of the levels, rounded, scaled to about [-1, 1]."""
        z = z.float()
        # An even number of levels has none at 0: the bound is moved by a half, and the origin back to where it was.
        reach = (self.levels - 1) * (1 + 1e-3) / 2
        half = (self.levels % 2 == 0) * 0.5
        bounded = torch.tanh(z + torch.atanh(half / reach)) * reach - half
        digit = bounded.round()
        straight = bounded + (digit - bounded).detach()
        code = ((digit + self.levels // 2).long() * self.place).sum(1)
        return Quantised(straight / (self.levels // 2), code, z.new_zeros(()))

    def code(self, z: Tensor) -> Tensor:
        """The symbols `(N,)` of vectors `(N, width)`."""
        return self(z).code

    def vectors(self, code: Tensor) -> Tensor:
        """`(N,)` to `(N, width)`."""
        digit = code.unsqueeze(1) // self.place % self.levels
        return (digit - self.levels // 2) / (self.levels // 2)


class Codebook(nn.Module):
    """The nearest of learned vectors (VQ-VAE, arXiv 1711.00937), each the running mean of what it was given.

    A code that falls out of use takes the place of a vector of the batch (Jukebox, arXiv 2005.00341, section 3.1).
    """

    weight: Tensor
    share: Tensor
    total: Tensor

    def __init__(self, vocab: int, width: int, decay: float, commitment: float) -> None:
        super().__init__()
        self.vocab, self.width, self.decay, self.commitment = vocab, width, decay, commitment
        self.register_buffer("weight", torch.randn(vocab, width))
        self.register_buffer("share", torch.zeros(vocab))  # running mean of how many vectors a step each was given
        self.register_buffer("total", torch.zeros(vocab, width))  # the same of their sum

    def forward(self, z: Tensor) -> Quantised:
        z = z.float()
        code = self.code(z)
        near = self.weight[code]
        if self.training:
            self._learn(z.detach(), code)
        return Quantised(z + (near - z).detach(), code, self.commitment * (z - near).square().mean())

    @torch.no_grad()
    def code(self, z: Tensor) -> Tensor:
        """The symbols `(N,)` of vectors `(N, width)`."""
        return torch.cdist(z.float(), self.weight).argmin(1)

    @torch.no_grad()
    def _learn(self, z: Tensor, code: Tensor) -> None:
        """Appendix A.1 of VQ-VAE, over all processes; then dead codes are revived."""
        count = sum_over_processes(code.bincount(minlength=self.vocab).to(z))
        total = sum_over_processes(torch.zeros_like(self.total).index_add_(0, code, z))
        self.share.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        used = self.share > 0
        self.weight[used] = self.total[used] / self.share[used, None]
        # Dead: given less than a tenth of a fair share.
        fair = count.sum() / self.vocab
        dead = self.share < 0.1 * fair
        fresh = from_first_process(z[torch.randint(len(z), (self.vocab,), device=z.device)])
        self.weight[dead] = fresh[dead]
        self.share[dead] = fair
        self.total[dead] = fair * fresh[dead]

    def vectors(self, code: Tensor) -> Tensor:
        """`(N,)` to `(N, width)`."""
        return self.weight[code]
