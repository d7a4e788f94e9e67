"""What the cache of keys and values saves: pictures/s of one autoregressive model with it and without.

Run: python benchmarks/cache.py MODEL_FOLDER     JSON on standard output; `ratio` is to reach 10.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

import morphogen
from morphogen.nn.transformer import Cache


class Nothing(Cache):
    """Keeps nothing: every symbol is drawn by reading all those before it anew."""

    filled = property(lambda self: 0, lambda self, value: None)  # type: ignore[assignment]

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return k, v


def main() -> None:
    found = argparse.ArgumentParser()
    found.add_argument("model", type=Path)
    found.add_argument("--count", type=int, default=250, help="pictures in a batch")
    found.add_argument("--rounds", type=int, default=3)
    found.add_argument("--threads", type=int, default=2)
    arguments = found.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    pipe = morphogen.load(arguments.model)
    keeping = pipe.model.transformer.cache

    def forgetting(batch: int, like: Tensor) -> Cache:
        transformer = pipe.model.transformer
        # No room is taken for what is not kept.
        return Nothing(0, batch, transformer.heads, 0, transformer.width // transformer.heads, like)

    def rate() -> tuple[float, list[bytes]]:
        started = time.perf_counter()
        pictures = pipe.sample(arguments.count, seed=0, batch=arguments.count)
        return arguments.count / (time.perf_counter() - started), [picture.tobytes() for picture in pictures]

    rate()
    with_it, without = [], []
    for _ in range(arguments.rounds):
        pipe.model.transformer.cache = keeping
        speed, pictures = rate()
        with_it.append(speed)
        pipe.model.transformer.cache = forgetting
        speed, again = rate()
        without.append(speed)
    same = sum(a == b for a, b in zip(pictures, again, strict=True)) / len(pictures)
    ratio = statistics.median(a / b for a, b in zip(with_it, without, strict=True))
    print(
        json.dumps(
            {
                "batch": arguments.count,
                "symbols": pipe.model.space.dimensions,
                "pictures_per_second": round(statistics.median(with_it), 1),
                "pictures_per_second_without": round(statistics.median(without), 2),
                "ratio": round(ratio, 1),
                "equal_pictures": same,
            }
        )
    )


if __name__ == "__main__":
    main()
