"""From vectors to codes and back: finite scalar quantisation, and a learned codebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...nn.distributed import from_first_process, sum_over_processes


class Quantised(NamedTuple):
    """The output of a quantiser for vectors `(N, width)`."""

    z: Tensor  # (N, width), the quantised vectors, with straight-through gradients
    code: Tensor  # (N,) int64
    commitment: Tensor  # scalar, the loss that keeps the vectors near those of their codes; 0 if there is none


class FiniteScalar(nn.Module):
    """Each channel rounded to one of a few levels; all combinations are the codebook (FSQ, arXiv 2309.15505)."""

    levels: Tensor
    place: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.width, self.vocab = len(levels), math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("place", torch.tensor([1, *levels[:-1]]).cumprod(0), persistent=False)

    def forward(self, z: Tensor) -> Quantised:
        """Bound vectors to the range of the levels, round them, and scale them to about [-1, 1] (section 3.1)."""
        z = z.float()
        # An even number of levels has none at 0: the bound is shifted by half a level, and the input so that 0 stays 0.
        reach = (self.levels - 1) * (1 + 1e-3) / 2
        half = (self.levels % 2 == 0) * 0.5
        bounded = torch.tanh(z + torch.atanh(half / reach)) * reach - half
        digit = bounded.round()
        straight = bounded + (digit - bounded).detach()
        code = ((digit + self.levels // 2).long() * self.place).sum(1)
        return Quantised(straight / (self.levels // 2), code, z.new_zeros(()))

    def code(self, z: Tensor) -> Tensor:
        """Return the codes `(N,)` of vectors `(N, width)`."""
        return self(z).code

    def vectors(self, code: Tensor) -> Tensor:
        """Return the vectors `(N, width)` of codes `(N,)`."""
        digit = code.unsqueeze(1) // self.place % self.levels
        return (digit - self.levels // 2) / (self.levels // 2)


class Codebook(nn.Module):
    """The nearest of learned vectors (VQ-VAE, arXiv 1711.00937), each the running mean of those assigned to it.

    A code that is rarely used is moved to a vector of the batch (Jukebox, arXiv 2005.00341, section 3.1).
    """

    weight: Tensor
    share: Tensor
    total: Tensor

    def __init__(self, vocab: int, width: int, decay: float, commitment: float) -> None:
        super().__init__()
        self.vocab, self.width, self.decay, self.commitment = vocab, width, decay, commitment
        self.register_buffer("weight", torch.randn(vocab, width))
        self.register_buffer("share", torch.zeros(vocab))  # running mean of how many vectors are assigned in a step
        self.register_buffer("total", torch.zeros(vocab, width))  # running mean of their sum

    def forward(self, z: Tensor) -> Quantised:
        z = z.float()
        code = self.code(z)
        nearest = self.weight[code]
        if self.training:
            self._update(z.detach(), code)
        return Quantised(z + (nearest - z).detach(), code, self.commitment * (z - nearest).square().mean())

    @torch.no_grad()
    def code(self, z: Tensor) -> Tensor:
        """Return the codes `(N,)` of vectors `(N, width)`."""
        return torch.cdist(z.float(), self.weight).argmin(1)

    @torch.no_grad()
    def _update(self, z: Tensor, code: Tensor) -> None:
        """Update the running means over all processes (VQ-VAE, appendix A.1), then move dead codes."""
        count = sum_over_processes(code.bincount(minlength=self.vocab).to(z))
        total = sum_over_processes(torch.zeros_like(self.total).index_add_(0, code, z))
        self.share.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        used = self.share > 0
        self.weight[used] = self.total[used] / self.share[used, None]
        # Dead: less than a tenth of the vectors that all codes have on average.
        average = count.sum() / self.vocab
        dead = self.share < 0.1 * average
        replacement = from_first_process(z[torch.randint(len(z), (self.vocab,), device=z.device)])
        self.weight[dead] = replacement[dead]
        self.share[dead] = average
        self.total[dead] = average * replacement[dead]

    def vectors(self, code: Tensor) -> Tensor:
        """Return the vectors `(N, width)` of codes `(N,)`."""
        return self.weight[code]
