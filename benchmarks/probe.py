"""What the machine can do at this moment: GFLOP/s of a matrix product and of a convolution. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from morphogen.nn.precision import bf16_is_emulated


def rate(work: Callable[[], object], flops: float, repeats: int = 7) -> float:
    """GFLOP/s: the median of several runs after two to warm up."""
    seconds = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return round(flops / median(seconds[2:]) / 1e9, 1)


@torch.no_grad()
def probe(threads: int) -> dict[str, float]:
    """A 2048³ product, and a 3x3 convolution 64 → 64 at 28², batch 64, channels-last; in bf16, too, if it is not
    emulated, where they would take minutes.
    """
    torch.set_num_threads(threads)
    found = {}
    for kind in (torch.float32, *([] if bf16_is_emulated() else [torch.bfloat16])):
        name = str(kind).removeprefix("torch.")
        a, b = torch.randn(2, 2048, 2048).to(kind)
        convolution = nn.Conv2d(64, 64, 3, padding=1, bias=False).to(kind, memory_format=torch.channels_last)
        x = torch.randn(64, 64, 28, 28).to(kind, memory_format=torch.channels_last)
        found[f"matmul_{name}"] = rate(lambda a=a, b=b: a @ b, 2 * 2048**3)
        found[f"convolution_{name}"] = rate(lambda f=convolution, x=x: f(x), 2 * 64 * 28 * 28 * 64 * 64 * 9)
    return found


if __name__ == "__main__":
    print(json.dumps(probe(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())))
