"""What sampling costs beside the network: seconds of a whole `generate` over seconds of its bare forward passes.

Run: python benchmarks/overhead.py     JSON on standard output; `ratio` is to stay at or below 1.2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from morphogen.core.model import Request
from morphogen.core.noise import Noise
from morphogen.core.space import Continuous, Tokens
from morphogen.families.diffusion.model import Diffusion
from morphogen.families.diffusion.options import Controls, Options


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    found = argparse.ArgumentParser()
    found.add_argument("--batch", type=int, default=64)
    found.add_argument("--rounds", type=int, default=5)
    arguments = found.parse_args()
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    model = Diffusion(Continuous(1, (28, 28), step=2 / 255), {"label": Tokens(10, (1,))}, Options()).eval()
    model.to(memory_format=torch.channels_last)
    controls = Controls()
    condition = {"label": torch.arange(arguments.batch).reshape(-1, 1) % 10}
    request = Request(Noise.count(0, arguments.batch), condition)
    x = torch.randn(arguments.batch, *model.space.shape)
    level = torch.ones(arguments.batch)

    def whole() -> None:
        for _ in model.generate(request, controls):
            pass

    calls: list[None] = []
    counter = model.network.register_forward_hook(lambda *_: calls.append(None))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole()
    counter.remove()

    def bare() -> None:
        for _ in calls:
            model.network(x, level, condition)

    ratios = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        bare()
        for _ in range(arguments.rounds):
            ratios.append(seconds(whole) / seconds(bare))
    print(
        json.dumps(
            {
                "batch": arguments.batch,
                "evaluations": len(calls),
                "ratio": round(statistics.median(ratios), 3),
                "all": ratios,
            }
        )
    )


if __name__ == "__main__":
    main()
