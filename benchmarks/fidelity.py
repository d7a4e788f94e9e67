"""Our distances and torch-fidelity's on the same features: their values, their time, their memory.

Two sets of 10,000 random features of 2,048 dimensions: like those of Inception they are never negative, and most of
their variance is in few directions. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contest import probe, write_json
from peers import environment
from text import run

HERE = Path(__file__).resolve().parent
COUNT, WIDTH = 10_000, 2_048
STREAMED = (1_000_000, 64)
ROUNDS = 3


def features(seed: int, shift: float) -> np.ndarray:
    """Return random features, float32 `(COUNT, WIDTH)`."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(WIDTH, WIDTH)) * np.arange(1, WIDTH + 1)[:, None] ** -0.7
    return np.maximum(0.3 * random.normal(size=(COUNT, WIDTH)) @ mixing + shift, 0).astype(np.float32)


def ours(folder: Path, threads: int, double: bool) -> dict[str, Any]:
    """Return our figures, their seconds and memory, in a process of its own; density and coverage are extra."""
    from morphogen.metrics._pairs import compute_together, share_features
    from morphogen.metrics.frechet import Frechet
    from morphogen.metrics.kernel import Kernel, on_subsets
    from morphogen.metrics.manifold import Manifold

    torch.set_num_threads(threads)
    kind = torch.float64 if double else torch.float32
    generated, real = (torch.from_numpy(np.load(folder / f"{side}.npy")).to(kind) for side in ("generated", "real"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    frechet = Frechet()
    frechet.update(real, real=True)
    frechet.update(generated, real=False)
    figures = frechet.compute()
    seconds = {"frechet": time.perf_counter() - started}
    started = time.perf_counter()
    pairs = share_features(Kernel(subsets=100, size=1000), Manifold(k=3))
    pairs[0].update(real, real=True)
    pairs[0].update(generated, real=False)
    figures |= compute_together(pairs)
    seconds["kernel, precision, recall, density, coverage"] = time.perf_counter() - started
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    if double:
        subsets = np.load(folder / "subsets.npy")
        figures["kernel on its subsets"] = float(
            on_subsets(real, generated, [(subset[1], subset[0]) for subset in subsets]).mean()
        )
    return {"figures": figures, "seconds": seconds, "gigabytes_above_the_features": round(peak, 3)}


def streamed(threads: int) -> dict[str, Any]:
    """Return the seconds and memory of all metrics of a million features a side, one block at a time."""
    from morphogen.metrics.discrepancy import Discrepancy
    from morphogen.metrics.frechet import Frechet
    from morphogen.metrics.frechet_infinity import FrechetInfinity
    from morphogen.metrics.kernel import Kernel
    from morphogen.metrics.manifold import Manifold
    from morphogen.metrics.vendi import Vendi

    torch.set_num_threads(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    metrics = [Frechet(), Vendi(), FrechetInfinity(), Kernel(), Manifold(), Discrepancy()]
    seconds = dict.fromkeys((type(metric).__name__ for metric in metrics), 0.0)
    for real in (True, False):
        random = torch.Generator().manual_seed(int(real))
        for _ in range(STREAMED[0] // 10_000):
            block = torch.randn(10_000, STREAMED[1], generator=random) * (1.0 if real else 1.02)
            for metric in metrics:
                started = time.perf_counter()
                metric.update(block, real=real)
                seconds[type(metric).__name__] += time.perf_counter() - started
    figures = {}
    for metric in metrics:
        started = time.perf_counter()
        figures |= metric.compute()
        seconds[type(metric).__name__] += time.perf_counter() - started
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    return {"rows": STREAMED, "figures": figures, "seconds": seconds, "gigabytes": round(peak, 3)}


def report(results: dict[str, Any]) -> str:
    """Return the results as Markdown tables."""
    lines = ["| figure | torch-fidelity | ours | relative difference |", "|---|---|---|---|"]
    for name, (theirs, mine, difference) in results["agreement"].items():
        lines.append(f"| {name} | {theirs:.10g} | {mine:.10g} | {difference:.1e} |")
    lines += ["", "| seconds | torch-fidelity | ours | ratio | GB above the features |", "|---|---|---|---|---|"]
    rounds = [("single precision", times) for times in results["rounds"]] + [("double precision", results["double"])]
    for name, times in rounds:
        theirs, mine = times["peer"], times["ours"]
        lines.append(f"| {name} | {theirs:.1f} | {mine:.1f} | {mine / theirs:.2f} | {times['gigabytes']:.2f} |")
    stream = results["streamed"]
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in stream["seconds"].items())
    lines += ["", f"{stream['rows'][0]:,} rows by {stream['rows'][1]} a side: {stream['gigabytes']} GB; {seconds} s"]
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run both on the same features; return all results."""
    python, packages = environment.make("fidelity")
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    for side, (seed, shift) in {"generated": (1, 0.1), "real": (2, 0.2)}.items():
        if not (work / f"{side}.npy").exists():
            np.save(work / f"{side}.npy", features(seed, shift))
    sides = [part for side in ("generated", "real") for part in (f"--{side}", str(work / f"{side}.npy"))]
    peer = [str(python), str(HERE / "peers" / "fidelity_metrics.py"), *sides, "--threads", str(options.threads)]
    own = [sys.executable, str(Path(__file__)), "--ours", "--work", str(work), "--threads", str(options.threads)]

    def pair(*flags: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the results of the peer and of ours."""
        extra = ["--subsets", str(work / "subsets.npy")] if flags else []
        theirs = json.loads(run([*peer, *flags, *extra], work / "log.txt", options.threads).last_line)
        return theirs, json.loads(run([*own, *flags], work / "log.txt", options.threads).last_line)

    theirs, mine = pair("--double")
    names = {
        "FD": ("frechet_inception_distance", "frechet"),
        "KID on its subsets": ("kernel_inception_distance_mean", "kernel on its subsets"),
        "precision, k = 3": ("precision", "precision"),
        "recall, k = 3": ("recall", "recall"),
    }
    agreement = {}
    for name, (peers, ourselves) in names.items():
        a, b = theirs["figures"][peers], mine["figures"][ourselves]
        if "k = 3" in name:  # as counts: torch-fidelity averages in float32
            a, b = round(a * COUNT), round(b * COUNT)
        agreement[name] = (a, b, abs(a - b) / abs(a))

    def timed(peers: dict[str, Any], ourselves: dict[str, Any]) -> dict[str, Any]:
        """Return the seconds of both, and our memory."""
        return {
            "peer": sum(peers["seconds"].values()),
            "ours": sum(ourselves["seconds"].values()),
            "parts": {"peer": peers["seconds"], "ours": ourselves["seconds"]},
            "gigabytes": ourselves["gigabytes_above_the_features"],
        }

    results = {
        "benchmark": "fidelity",
        "machine": {"threads": options.threads, "python": platform.python_version(), "torch": torch.__version__},
        "finished": time.strftime("%Y-%m-%d"),
        "packages": [line for line in packages if line.startswith(("torch", "numpy", "scipy"))],
        "features": [COUNT, COUNT, WIDTH],
        "agreement": agreement,
        "double": timed(theirs, mine),
        "rounds": [],
    }
    for _ in range(ROUNDS):
        results["rounds"].append({"probe": probe(options.threads), **timed(*pair())})
    command = [sys.executable, str(Path(__file__)), "--streamed", "--threads", str(options.threads)]
    results["streamed"] = json.loads(run(command, work / "log.txt", options.threads).last_line)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "fidelity")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "fidelity.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="print the tables of the last results")
    for flag in ("--ours", "--double", "--streamed"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(ours(options.work, options.threads, options.double)))
    elif options.streamed:
        print(json.dumps(streamed(options.threads)))
    else:
        if not options.report:
            write_json(options.results, measure(options))
        print(report(json.loads(options.results.read_text())))


if __name__ == "__main__":
    main()
