"""The present speed of the machine: GFLOP/s of a matrix product and of a convolution. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from morphogen.nn.precision import bf16_is_emulated


def rate(function: Callable[[], object], flops: float, repeats: int = 7) -> float:
    """Return GFLOP/s: the median of several runs after two for warm-up."""
    seconds = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return round(flops / median(seconds[2:]) / 1e9, 1)


@torch.no_grad()
def probe(threads: int) -> dict[str, float]:
    """Return the GFLOP/s of a 2048³ product and of a 3x3 convolution 64 → 64 at 28², batch 64, channels-last.

    In bf16, too, unless it is emulated, which would take minutes.
    """
    torch.set_num_threads(threads)
    rates = {}
    for kind in (torch.float32, *([] if bf16_is_emulated() else [torch.bfloat16])):
        name = str(kind).removeprefix("torch.")
        a, b = torch.randn(2, 2048, 2048).to(kind)
        convolution = nn.Conv2d(64, 64, 3, padding=1, bias=False).to(kind, memory_format=torch.channels_last)
        x = torch.randn(64, 64, 28, 28).to(kind, memory_format=torch.channels_last)
        rates[f"matmul_{name}"] = rate(lambda a=a, b=b: a @ b, 2 * 2048**3)
        rates[f"convolution_{name}"] = rate(lambda f=convolution, x=x: f(x), 2 * 64 * 28 * 28 * 64 * 64 * 9)
    return rates


if __name__ == "__main__":
    print(json.dumps(probe(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())))
