"""Training beside busy neighbours: speed, seconds trained and overrun of the budget, idle and with one busy process a
core.

Run: python benchmarks/neighbour.py                       fixed networks, about eight minutes
     python benchmarks/neighbour.py --defaults --seconds 120   what the probe chooses, for the seconds alone
     python benchmarks/neighbour.py --code DIR            the package in DIR, such as that of another commit

Each fit is a process of its own, and idle and loaded ones take turns. The first line is the share of the processors
that the system gives a program of one counting thread a core beside the same neighbours: no fit can keep more of its
idle speed. Prints a table, and writes JSON to `results/`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import tables_data

DATA = Path(os.environ.get("MORPHOGEN_DATA", "shared/data"))
RESULTS = Path(__file__).parent / "results" / "neighbour.json"
WIDTH = ("--options.width", "32", "--options.prior-width", "64", "--train.batch", "64")
LAYERS = ("--options.width", "128", "--options.layers", "4", "--train.batch", "16")
FIXED = {"pictures": WIDTH, "rows": ("--train.batch", "256"), "texts": LAYERS}


def sources(folder: Path) -> dict[str, str]:
    """Return the digits, the rows of Adult and the plays of Shakespeare as arguments of `fit`."""
    tables_data.write("adult", DATA, folder / "adult")
    return {
        "pictures": "digits",
        "rows": str(folder / "adult" / "train.parquet"),
        "texts": str(DATA / "text" / "tinyshakespeare.txt"),
    }


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep so many Python processes busy within the block, in sessions of their own, as other programs are."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


_COUNTING = """
import multiprocessing, sys, time
def count(seconds):
    number, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        number += 1
    return number
if __name__ == "__main__":
    cores = int(sys.argv[2])
    with multiprocessing.Pool(cores) as pool:
        print(sum(pool.map(count, [float(sys.argv[1])] * cores)))
"""


def share(seconds: float, folder: Path) -> float:
    """Return the speed of one counting process a core beside as many neighbours, over that without them."""
    cores, script = joblib.cpu_count(), folder / "count.py"
    script.write_text(_COUNTING)
    counts = []
    for busy in (0, cores):
        with neighbours(busy):
            command = [sys.executable, str(script), str(seconds), str(cores)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, start_new_session=True)
            counts.append(int(done.stdout))
    return counts[1] / counts[0]


def fit(source: str, seconds: float, flags: tuple[str, ...], out: Path, code: Path | None) -> dict[str, float]:
    """Return the figures of a fit by the command line, with its seconds of wall clock."""
    environment = os.environ | ({"PYTHONPATH": str(code)} if code else {})
    command = [sys.executable, "-m", "morphogen", "fit", source, "--minutes", str(seconds / 60), "--out", str(out)]
    started = time.monotonic()
    subprocess.run([*command, *flags], env=environment, check=True, capture_output=True)
    wall = time.monotonic() - started
    figures: dict[str, Any] = json.loads((out / "metrics.json").read_text())["training"]
    in_loop = figures["seconds"] - figures["start_seconds"]
    return {
        "items_per_second": figures["steps"] * figures["batch"] / in_loop,
        "start": figures["start_seconds"],
        "trained": figures.get("step_seconds", in_loop),  # code before the release knew no other seconds
        "overrun": wall / seconds - 1,
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Return the figures of each round, by data set and by whether it was idle or loaded."""
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, source in sources(folder).items():
        if options.only and name not in options.only:
            continue
        own = results[name] = {"idle": [], "loaded": []}
        flags = () if options.defaults else FIXED[name]
        for number in range(options.rounds):
            for kind, count in (("idle", 0), ("loaded", joblib.cpu_count())):
                with neighbours(count):
                    out = folder / f"{name}-{kind}-{number}"
                    own[kind].append(fit(source, options.seconds, flags, out, options.code))
                print(f"{name}, {kind}: {own[kind][-1]}", file=sys.stderr, flush=True)
    return results


def report(results: dict[str, dict[str, list[dict[str, float]]]], counting: float) -> str:
    """Return the medians as a table."""
    lines = [
        f"a counting program keeps {counting:.0%} of its idle speed",
        "",
        "| | items/s, idle | loaded | loaded / idle | s trained, idle | loaded | overrun, idle | loaded |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, kinds in results.items():
        idle, loaded = (
            {key: median(one[key] for one in kinds[kind]) for key in kinds[kind][0]} for kind in ("idle", "loaded")
        )
        ratio = median(
            b["items_per_second"] / a["items_per_second"] for a, b in zip(kinds["idle"], kinds["loaded"], strict=True)
        )
        speeds = f"{idle['items_per_second']:,.1f} | {loaded['items_per_second']:,.1f} | {ratio:.0%}"
        seconds = f"{idle['trained']:.1f} | {loaded['trained']:.1f}"
        lines.append(f"| {name} | {speeds} | {seconds} | {idle['overrun']:+.1%} | {loaded['overrun']:+.1%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="budget of each fit")
    parser.add_argument("--rounds", type=int, default=2, help="fits of each kind")
    parser.add_argument("--defaults", action="store_true", help="let the probe choose network and batch")
    parser.add_argument("--only", nargs="*", choices=sorted(FIXED), help="some of the data sets")
    parser.add_argument("--code", type=Path, help="folder that holds the package to measure")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON of all figures; other runs in it are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counting = share(10.0, Path(folder))
        results = measure(options, Path(folder))
    print(report(results, counting))
    runs = json.loads(options.out.read_text()) if options.out.exists() else {}
    networks = "defaults" if options.defaults else "fixed networks"
    version = f", {options.code}" if options.code else ""
    runs[f"{networks}, {options.seconds:g} s{version}"] = {
        "load": os.getloadavg()[0],
        "counting": counting,
        "figures": results,
    }
    options.out.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
