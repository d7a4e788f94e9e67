"""Decoding: tokens/s of `autoregressive` and of transformers' `generate`, with equal networks of random weights.

6 layers, 384 wide; no text ends early. Also measured: the limits that memory bandwidth and the matrix products alone
set, the time of a token by the number of tokens before it, and requests of mixed lengths against equal lengths. See
README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from contest import write_json
from peers import environment
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from morphogen.core.model import Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import TokenSequence
from morphogen.families.autoregressive.sequence import AutoregressiveSequence
from morphogen.nn.precision import bf16_is_emulated
from morphogen.nn.quantized_linear import Linear, Weights, quantized_linear

HERE = Path(__file__).resolve().parent
LAYERS, WIDTH, VOCAB, PROMPT, LENGTH = 6, 384, 256, 16, 200
START, END = VOCAB, VOCAB + 1
BATCHES = (1, 16, 64)


def network(context: int) -> AutoregressiveSequence:
    """Return a model of random weights that never samples the end."""
    torch.manual_seed(0)
    space = TokenSequence(VOCAB + 2, context, start=START, end=END)
    options = AutoregressiveSequence.Options(width=WIDTH, layers=LAYERS, ngram_order=0)
    model = AutoregressiveSequence(space, {}, options).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.02)
        if name == "head.bias":
            with torch.no_grad():
                parameter[END] = -100.0
    return model


def generate(
    model: AutoregressiveSequence, lengths: list[int], prompt_length: int = PROMPT, weights: Weights = "fp32"
) -> float:
    """Return the seconds of generating that many tokens for each text; a text leaves the batch at its end."""
    prompt = torch.randint(0, VOCAB, (len(lengths), prompt_length), generator=torch.Generator().manual_seed(1))
    prompt[:, 0] = START
    request = Request(
        Noise.consecutive(0, len(lengths)),
        given=Partial(prompt, torch.ones_like(prompt, dtype=torch.bool)),
        token_constraints=[[EndAfter(length)] for length in lengths] if len(set(lengths)) > 1 else (),
    )
    controls = model.Controls(max_length=max(lengths), weights=weights)
    start = time.perf_counter()
    for draft in model.generate(request, controls):
        last = draft
    seconds = time.perf_counter() - start
    generated = (last.x[:, prompt_length:] != END).sum(1).tolist()
    assert generated == lengths, (generated[:4], lengths[:4])
    return seconds


class EndAfter:
    """A token constraint: after that many tokens the end, and nothing else."""

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.only_end = torch.zeros(VOCAB + 2, dtype=torch.bool)
        self.only_end[END] = True

    def allowed(self) -> Tensor | None:
        return self.only_end if self.remaining == 0 else None

    def advance(self, token: int) -> None:
        self.remaining -= 1

    def fork(self) -> EndAfter:
        return EndAfter(self.remaining)


def shortest(function: Callable[[], object], repeats: int) -> float:
    """Return the shortest of several times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def limits() -> dict[str, Any]:
    """Return the limits of the machine: bytes/s of reading the weights, and tokens/s of the matrix products alone."""
    shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH)] * LAYERS + [(VOCAB, WIDTH)]
    weights = [torch.randn(shape) for shape in shapes]
    size = sum(weight.numel() * 4 for weight in weights)
    reading = shortest(lambda: [weight.sum() for weight in weights], 30)
    results: dict[str, Any] = {
        "weights_bytes": size,
        "bytes_per_second_summing_the_weights": round(size / reading),
        "tokens_per_second_of_reading": round(1 / reading, 1),
    }
    linears: dict[str, list[Linear]] = {"plain": [lambda x, weight=weight: x @ weight.T for weight in weights]}
    linears |= {kind: [quantized_linear(weight, kind) for weight in weights] for kind in weight_kinds()}
    for batch in BATCHES:
        inputs = [torch.randn(batch, columns) for _, columns in shapes]
        rates = {}
        for kind, layers in linears.items():
            seconds = shortest(lambda xs=inputs, fs=layers: [f(x) for f, x in zip(fs, xs, strict=True)], 30)
            rates[kind] = round(batch / seconds, 1)
        results[f"tokens_per_second_of_products_{batch}"] = rates
    return results


def attention(length: int) -> float:
    """Return the seconds of the attention alone of one token over `length` cached ones, in all layers."""
    heads = WIDTH // 32
    caches = [torch.randn(2, 1, heads, 1024, 32) for _ in range(LAYERS)]
    q = torch.randn(1, heads, 1, 32)

    def attend() -> None:
        for keys, values in caches:
            scaled_dot_product_attention(q, keys[:, :, :length], values[:, :, :length])

    return shortest(attend, 100)


def weight_kinds() -> list[Weights]:
    """Return the precisions of weights that this machine computes fast."""
    return [kind for kind in get_args(Weights) if kind != "bf16" or not bf16_is_emulated()]


def own_rates(model: AutoregressiveSequence, rounds: int) -> dict[str, dict[str, float]]:
    """Return our tokens/s, by batch and precision of the weights, each the best of some rounds."""
    generate(model, [4])
    return {
        str(batch): {
            kind: round(max(batch * LENGTH / generate(model, [LENGTH] * batch, weights=kind) for _ in range(rounds)), 1)
            for kind in weight_kinds()
        }
        for batch in BATCHES
    }


def peer_rates(rounds: int, threads: int) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return the tokens/s of transformers, by batch and precision, and the versions of its packages."""
    python, packages = environment.make("transformers")
    command = [str(python), str(HERE / "peers" / "transformers_generate.py")]
    command += ["--layers", str(LAYERS), "--width", str(WIDTH), "--vocab", str(VOCAB), "--prompt", str(PROMPT)]
    command += ["--tokens", str(LENGTH), "--rounds", str(rounds), "--threads", str(threads)]
    command += ["--batches", *map(str, BATCHES)]
    variables = os.environ | {"OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout
    versions = [line for line in packages if line.split("==")[0] in ("torch", "transformers")]
    return json.loads(output.splitlines()[-1]), versions


def time_by_length(rounds: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of one more token after short and long prompts, without those of reading the prompt."""
    model = network(1024)
    results = {}
    for length in (16, 256, 512, 900):
        many, one = (min(generate(model, [count], length) for _ in range(rounds)) for count in (61, 1))
        milliseconds = {"all": 1e3 * (many - one) / 60, "attention": 1e3 * attention(length + 30)}
        results[str(length)] = {name: round(value, 3) for name, value in milliseconds.items()}
    return results


def mixed_over_equal(model: AutoregressiveSequence, rounds: int) -> float:
    """Return the time of 64 requests of 20 to 200 tokens over that of as many tokens in requests of equal lengths."""
    mixed = torch.randint(20, 201, (64,), generator=torch.Generator().manual_seed(0)).tolist()
    mean = sum(mixed) // len(mixed)
    per_token = min(generate(model, [mean] * len(mixed)) for _ in range(rounds)) / (mean * len(mixed))
    return round(min(generate(model, mixed) for _ in range(rounds)) / (per_token * sum(mixed)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "decode.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without-peer", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    results: dict[str, Any] = {"threads": options.threads, "limits": limits()}
    model = network(256)
    ours = results["ours"] = own_rates(model, options.rounds)
    print(results, flush=True)
    if not options.without_peer:
        results["peer"], results["peer_packages"] = peer_rates(options.rounds, options.threads)
        results["times_the_peer"] = {
            batch: {kind: round(rate / max(results["peer"][batch].values()), 2) for kind, rate in rates.items()}
            for batch, rates in ours.items()
        }
    results["share_of_products"] = {
        batch: {
            kind: round(rate / results["limits"][f"tokens_per_second_of_products_{batch}"][kind], 3)
            for kind, rate in rates.items()
        }
        for batch, rates in ours.items()
    }
    results["milliseconds_per_token_after"] = time_by_length(options.rounds)
    results["mixed_over_equal"] = mixed_over_equal(model, options.rounds)
    write_json(options.results, results)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
