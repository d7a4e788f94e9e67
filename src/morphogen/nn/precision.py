"""Which precisions this processor computes fast."""

from __future__ import annotations

import functools
import time

import torch


@functools.cache
def bf16_is_emulated() -> bool:
    """Return whether matrix products in bf16 are far slower on this processor than in single precision."""

    def seconds(dtype: torch.dtype) -> float:
        x = torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(4):
            started = time.perf_counter()
            x @ x
            times.append(time.perf_counter() - started)
        return min(times)

    # Hundreds of times where bf16 is emulated; elsewhere small products may be a little slower, and larger ones faster.
    return seconds(torch.bfloat16) > 8 * seconds(torch.float32)
