"""The cost of sampling beside the network: seconds of `generate` over seconds of its forward passes alone.

Run: python benchmarks/overhead.py     prints JSON; `ratio` should be at most 1.2.
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
from morphogen.core.space import Grid, Tokens
from morphogen.families.diffusion.grid import GridDiffusion


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    space, conditions = Grid(1, (28, 28), step=2 / 255), {"label": Tokens(10, (1,))}
    model = GridDiffusion(space, conditions, GridDiffusion.Options()).eval()
    model.to(memory_format=torch.channels_last)
    controls = GridDiffusion.Controls()
    condition = {"label": torch.arange(options.batch).reshape(-1, 1) % 10}
    request = Request(Noise.consecutive(0, options.batch), condition)
    x = torch.randn(options.batch, *model.space.shape)
    level = torch.ones(options.batch)

    def generate() -> None:
        for _ in model.generate(request, controls):
            pass

    calls: list[None] = []
    counter = model.network.register_forward_hook(lambda *_: calls.append(None))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        generate()
    counter.remove()

    def forward_passes() -> None:
        for _ in calls:
            model.network(x, level, condition)

    ratios = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        forward_passes()
        for _ in range(options.rounds):
            ratios.append(seconds(generate) / seconds(forward_passes))
    results = {
        "batch": options.batch,
        "evaluations": len(calls),
        "ratio": round(statistics.median(ratios), 3),
        "all": ratios,
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
