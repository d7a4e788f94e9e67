"""Counter-based noise: each value is a function of (seed, name, position) and of nothing else.

Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The key is the sample's seed,
the counter is (block of four values, position, name). So sample 7 draws the same numbers alone, in a batch of any
size and order, on any worker and machine. The integers are exact everywhere; normals agree to float32 rounding.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: Sequence[Tensor], key: Sequence[Tensor], rounds: int = 10) -> tuple[Tensor, ...]:
    """Return four 32-bit words of Philox4x32, from a counter of four and a key of two, all held in int64 tensors."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


class Noise:
    """The random numbers of a batch of samples, one 64-bit seed each.

    `uniform` and `normal` return `(B, *shape)` float32 on `device`; draws with another `name` or position `at`
    (an int, or one per sample) are independent. Computed on the CPU, so that every device sees the same.
    """

    def __init__(self, seeds: Tensor | Sequence[int], device: torch.device | str = "cpu") -> None:
        self.seeds = torch.as_tensor(seeds, dtype=torch.int64).cpu().reshape(-1)
        self.device = torch.device(device)

    @classmethod
    def consecutive(cls, seed: int, count: int, device: torch.device | str = "cpu") -> Noise:
        """Return the noise of the seeds `seed`, `seed + 1`, …: sample i of seed s is sample 0 of seed s + i."""
        return cls(torch.arange(seed, seed + count, dtype=torch.int64), device)

    def __len__(self) -> int:
        return len(self.seeds)

    def _words(self, name: str, count: int, at: int | Tensor) -> Tensor:
        samples, blocks = len(self), -(-count // 4)
        stream = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")
        position = torch.as_tensor(at, dtype=torch.int64).cpu().reshape(-1, 1).expand(samples, 1)
        block = torch.arange(blocks, dtype=torch.int64).expand(samples, blocks)
        counter = (block & _MASK, position & _MASK, torch.full_like(block, stream), position >> 32 & _MASK)
        key = ((self.seeds & _MASK).unsqueeze(1), (self.seeds >> 32 & _MASK).unsqueeze(1))
        return torch.stack(philox(counter, key), dim=-1)

    def words(self, name: str, count: int, at: int | Tensor = 0) -> Tensor:
        """Return `count` uniform words of 32 bits for each sample, int64 `(B, count)` in [0, 2^32), on the CPU."""
        return self._words(name, count, at).reshape(len(self), -1)[:, :count]

    def uniform(self, name: str, shape: tuple[int, ...], at: int | Tensor = 0) -> Tensor:
        """Return uniform numbers in (0, 1), `(B, *shape)`; never 0 or 1, so that their logarithms are finite."""
        words = self.words(name, math.prod(shape), at)
        # 23 bits and a half: the largest value, 1 - 2^-24, is still below 1 in float32.
        values = ((words >> 9).to(torch.float64) + 0.5) * 2.0**-23
        return values.to(torch.float32).reshape(len(self), *shape).to(self.device)

    def normal(self, name: str, shape: tuple[int, ...], at: int | Tensor = 0) -> Tensor:
        """Return standard normal numbers, `(B, *shape)`, by Box-Muller in double precision."""
        count = math.prod(shape)
        u = (self._words(name, count, at).to(torch.float64) + 0.5) * 2.0**-32
        radius, angle = torch.sqrt(-2 * torch.log(u[..., :2])), 2 * math.pi * u[..., 2:]
        values = torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
        return values.to(torch.float32).reshape(len(self), -1)[:, :count].reshape(len(self), *shape).to(self.device)
