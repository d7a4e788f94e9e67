"""Pictures/s of an autoregressive model of tokens with its key-value cache, and without it.

Run: python benchmarks/cache.py MODEL_FOLDER     prints JSON; `ratio` should reach 10.
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
from morphogen.nn.kv_cache import KVCache


class NoCache(KVCache):
    """Stores nothing: for each token all tokens before it are read again."""

    def __init__(self) -> None:
        self.length = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        return k, v, None

    def advance(self, count: int) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=250, help="pictures in a batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    pipe = morphogen.load(options.model)
    transformer = pipe.model.transformer
    caches = {"with": transformer.cache, "without": lambda batch, like: NoCache()}

    def measure(name: str) -> tuple[float, list[bytes]]:
        """Return the pictures/s with that cache, and the pictures."""
        transformer.cache = caches[name]
        started = time.perf_counter()
        pictures = pipe.sample(options.count, seed=0, batch=options.count)
        return options.count / (time.perf_counter() - started), [picture.tobytes() for picture in pictures]

    measure("with")  # warm-up
    rates: dict[str, list[float]] = {"with": [], "without": []}
    pictures: dict[str, list[bytes]] = {}
    for _ in range(options.rounds):
        for name in rates:
            rate, pictures[name] = measure(name)
            rates[name].append(rate)
    equal = [one == other for one, other in zip(pictures["with"], pictures["without"], strict=True)]
    ratio = statistics.median(one / other for one, other in zip(rates["with"], rates["without"], strict=True))
    results = {
        "batch": options.count,
        "tokens": pipe.model.space.dimensions,
        "pictures_per_second": round(statistics.median(rates["with"]), 1),
        "pictures_per_second_without": round(statistics.median(rates["without"]), 2),
        "ratio": round(ratio, 1),
        "equal_pictures": sum(equal) / len(equal),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
