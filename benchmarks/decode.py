"""The race on decoding: symbols/s of `autoregressive` and of transformers' `generate`, equal networks, one command.

6 layers, 384 wide, random weights, so that no text ends early. Also: the limit that the memory and the bare matrix
products set; how the time of a symbol grows with what is read; and requests of mixed lengths against equal ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, get_args

import torch
from contest import write_json
from peers import environment
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from morphogen.core.model import Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens
from morphogen.families.autoregressive.model import Autoregressive
from morphogen.nn.precision import bf16_is_emulated
from morphogen.nn.products import Product, Weights, product

HERE = Path(__file__).resolve().parent
LAYERS, WIDTH, VOCAB, PROMPT, DRAWN = 6, 384, 256, 16, 200
BATCHES = (1, 16, 64)


def network(context: int) -> Autoregressive:
    torch.manual_seed(0)
    space = Tokens(VOCAB + 2, (context,), end=VOCAB + 1, start=VOCAB)
    made = Autoregressive(space, {}, Autoregressive.Options(width=WIDTH, layers=LAYERS, counts=0)).eval()
    for name, parameter in made.named_parameters():
        torch.nn.init.normal_(parameter, std=0.02)
        if name == "head.bias":
            with torch.no_grad():
                parameter[-1] = -100.0  # no end
    return made


def draw(model: Autoregressive, lengths: list[int], prompt: int = PROMPT, weights: Weights = "fp32") -> float:
    """Seconds to draw so many symbols for each row; rows leave when they are done."""
    x = torch.randint(0, VOCAB, (len(lengths), prompt), generator=torch.Generator().manual_seed(1))
    x[:, 0] = VOCAB
    request = Request(Noise.count(0, len(lengths)), given=Partial(x, torch.ones_like(x, dtype=torch.bool)))
    controls = model.Controls(max_length=max(lengths), weights=weights)
    if len(set(lengths)) > 1:
        request = Request(request.noise, given=request.given, rules=[[Until(length)] for length in lengths])
    start = time.perf_counter()
    for draft in model.generate(request, controls):
        last = draft
    seconds = time.perf_counter() - start
    drawn = (last.x[:, prompt:] != VOCAB + 1).sum(1).tolist()
    assert drawn == lengths, (drawn[:4], lengths[:4])
    return seconds


class Until:
    """A rule: after so many symbols the end."""

    def __init__(self, length: int) -> None:
        self.left = length
        self.end = torch.zeros(VOCAB + 2, dtype=torch.bool)
        self.end[-1] = True

    def allowed(self) -> Tensor | None:
        return self.end if self.left == 0 else None

    def advance(self, symbol: int) -> None:
        self.left -= 1

    def fork(self) -> Until:
        return Until(self.left)


def limits() -> dict[str, Any]:
    """What the machine allows: bytes/s of reading the weights, and the bare matrix products of a symbol."""
    shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH)] * LAYERS + [(VOCAB, WIDTH)]
    weights = [torch.randn(shape) for shape in shapes]
    size = sum(weight.numel() * 4 for weight in weights)

    def best(act: Any) -> float:
        times = []
        for _ in range(30):
            start = time.perf_counter()
            act()
            times.append(time.perf_counter() - start)
        return min(times)

    reading = best(lambda: [weight.sum() for weight in weights])
    found: dict[str, Any] = {
        "weights_bytes": size,
        "bytes_per_second_summing_the_weights": round(size / reading),
        "symbols_per_second_of_reading": round(1 / reading, 1),
    }
    ways: dict[str, list[Product]] = {"plain": [lambda x, weight=weight: x @ weight.T for weight in weights]}
    ways |= {kind: [product(weight, kind) for weight in weights] for kind in kinds()}
    for batch in BATCHES:
        inputs = [torch.randn(batch, columns) for _, columns in shapes]
        for kind, those in ways.items():
            seconds = best(lambda inputs=inputs, those=those: [act(x) for act, x in zip(those, inputs, strict=True)])
            found.setdefault(f"symbols_per_second_of_products_{batch}", {})[kind] = round(batch / seconds, 1)
    return found


def attention(read: int) -> float:
    """Seconds of the bare attention of one symbol over so many that are kept, in all layers."""
    heads = WIDTH // 32
    kept = [torch.randn(2, 1, heads, 1024, 32) for _ in range(LAYERS)]
    q = torch.randn(1, heads, 1, 32)
    times = []
    for _ in range(100):
        start = time.perf_counter()
        for keys, values in kept:
            scaled_dot_product_attention(q, keys[:, :, :read], values[:, :, :read])
        times.append(time.perf_counter() - start)
    return min(times)


def kinds() -> list[Weights]:
    return [kind for kind in get_args(Weights) if kind != "bf16" or not bf16_is_emulated()]


def main() -> None:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--results", type=Path, default=HERE / "results" / "decode.json")
    found.add_argument("--rounds", type=int, default=3)
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--without-peer", action="store_true")
    options = found.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    results: dict[str, Any] = {"threads": options.threads, "limits": limits()}
    model = network(256)
    draw(model, [4])
    ours = {
        str(n): {
            kind: round(max(n * DRAWN / draw(model, [DRAWN] * n, weights=kind) for _ in range(options.rounds)), 1)
            for kind in kinds()
        }
        for n in BATCHES
    }
    results["ours"] = ours
    print(results, flush=True)
    if not options.without_peer:
        python, packages = environment.make("transformers")
        command = [str(python), str(HERE / "peers" / "transformers_generate.py")]
        command += ["--layers", str(LAYERS), "--width", str(WIDTH), "--vocab", str(VOCAB), "--prompt", str(PROMPT)]
        command += ["--tokens", str(DRAWN), "--rounds", str(options.rounds), "--threads", str(options.threads)]
        command += ["--batches", *map(str, BATCHES)]
        surroundings = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
        said = subprocess.run(command, check=True, capture_output=True, text=True, env=surroundings).stdout
        results["peer"] = json.loads(said.splitlines()[-1])
        results["peer_packages"] = [line for line in packages if line.split("==")[0] in ("torch", "transformers")]
        results["times_the_peer"] = {
            batch: {kind: round(rate / max(results["peer"][batch].values()), 2) for kind, rate in rates.items()}
            for batch, rates in ours.items()
        }
    results["share_of_products"] = {
        batch: {
            kind: round(rate / results["limits"][f"symbols_per_second_of_products_{batch}"][kind], 3)
            for kind, rate in rates.items()
        }
        for batch, rates in ours.items()
    }
    # How the time grows: the same number of symbols after a short and after a long beginning, without reading it.
    long = network(1024)

    def later(read: int) -> float:
        many, one = (min(draw(long, [count], read) for _ in range(options.rounds)) for count in (61, 1))
        return 1e3 * (many - one) / 60

    results["milliseconds_per_symbol_after"] = {
        str(read): {"all": round(later(read), 3), "attention": round(1e3 * attention(read + 30), 3)}
        for read in (16, 256, 512, 900)
    }
    random = torch.Generator().manual_seed(0)
    mixed = torch.randint(20, 201, (64,), generator=random).tolist()
    mean = sum(mixed) // len(mixed)
    equal = [mean + (row < sum(mixed) - mean * len(mixed)) for row in range(len(mixed))]
    times = {
        "equal": min(draw(model, [mean] * 64) * sum(equal) / (mean * 64) for _ in range(options.rounds)),
        "mixed": min(draw(model, mixed) for _ in range(options.rounds)),
    }
    results["mixed_over_equal"] = round(times["mixed"] / times["equal"], 3)
    write_json(options.results, results)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
