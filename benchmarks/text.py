"""Text: tiny Shakespeare, ours in the seconds that the peer took, and in ten minutes. One command.

Each run is a process of its own and writes its result to the work folder; finished runs are not repeated. See
README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from contest import DATA, probe, process_variables, write_json
from peers import environment
from text_score import score

HERE = Path(__file__).resolve().parent
START_UP = 10.0  # seconds of the command outside its budget: importing, calibrating, writing the folder


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder above text/tinyshakespeare.txt")
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "text")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "text.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=10, help="of our longer run")
    parser.add_argument("--without-long", action="store_true", help="leave out our longer run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="print the table of the last results")
    return parser.parse_args()


class Run(NamedTuple):
    """The wall-clock seconds of a process from start to end, its last line of output, and its peak memory."""

    seconds: float
    last_line: str
    peak_gigabytes: float


def run(command: list[str], log: Path, threads: int) -> Run:
    """Run a command with its output in the log; exit with the end of the log if it fails."""
    variables = process_variables(threads)
    started = time.perf_counter()
    with log.open("a") as file:
        process = subprocess.Popen(command, env=variables, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = log.read_text().splitlines()
    if process.returncode:
        sys.exit("\n  ".join([f"failed with {process.returncode}; the end of {log}:", *lines[-15:]]))
    return Run(time.perf_counter() - started, lines[-1], round(usage.ru_maxrss / 2**20, 2))


def peer(text: Path, out: Path, seed: int, threads: int) -> dict[str, Any]:
    """Train and score the peer; return its result."""
    python, packages = environment.make("transformers")
    command = [str(python), str(HERE / "peers" / "nanogpt.py"), "--text", str(text), "--out", str(out / "model")]
    command += ["--seed", str(seed), "--threads", str(threads)]
    seconds = run(command, out / "log.txt", threads).seconds
    scores = run([*command, "--score"], out / "score.txt", threads).last_line
    versions = [line for line in packages if line.split("==")[0] in ("torch", "transformers")]
    return {"seconds": round(seconds, 1), **json.loads(scores), "packages": versions}


def ours(text: Path, out: Path, seed: int, threads: int, seconds: float) -> dict[str, Any]:
    """Run `morphogen fit` in that many seconds, the start of the process included; return its result."""
    import morphogen

    minutes = (seconds - START_UP) / 60
    command = [str(Path(sys.executable).with_name("morphogen")), "fit", str(text), "--minutes", f"{minutes:.4f}"]
    command += ["--separator", "none", "--train.seed", str(seed), "--out", str(out / "model")]
    spent = run(command, out / "log.txt", threads).seconds
    pipe = morphogen.load(out / "model")
    data = text.read_text()
    test = pipe.codec.encode([data[int(0.9 * len(data)) :]])[0]
    model, space = pipe.model, pipe.model.space
    test = test[(test != space.start) & (test != space.end)]
    scores = score(lambda x: model.token_nats(x, {})[:, 1:], test, space.context)
    training = json.loads((out / "model" / "metrics.json").read_text())["training"]
    options = json.loads((out / "model" / "config.json").read_text())["options"]
    return {
        "seconds": round(spent, 1),
        "allowed": round(seconds, 1),
        **scores,
        "training": training,
        "options": options,
    }


def once(file: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Return the result in a file, which `make(folder)` returns if the file does not exist yet."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, make(file.parent))
    result: dict[str, Any] = json.loads(file.read_text())
    print(file.parent.name, {key: result[key] for key in ("seconds", "nats")}, flush=True)
    return result


def report(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| | seed | nats a character | seconds, start-up included | parameters | characters read |",
        "|" + "---|" * 6,
    ]
    for name, runs in results["runs"].items():
        for seed, result in runs.items():
            training = result.get("training", {})
            read = f"{training['steps'] * training['batch'] * result['window']:,}" if training else "1,536,000"
            size = f"{training.get('parameters', 0):,}" if training else "–"
            lines.append(f"| {name} | {seed} | {result['nats']:.4f} | {result['seconds']:.0f} | {size} | {read} |")
    return "\n".join(lines)


def main() -> None:
    options = arguments()
    if options.report:
        print(report(json.loads(options.results.read_text())))
        return
    text, work = options.data / "text" / "tinyshakespeare.txt", options.work.resolve()
    if not text.exists():
        sys.exit(f"{text} does not exist; give --data, or set MORPHOGEN_DATA, the folder above text")
    torch.set_num_threads(options.threads)
    short, long = "ours, the peer's seconds", f"ours, {options.minutes:g} min"
    runs: dict[str, dict[str, Any]] = {"peer": {}, short: {}} | ({} if options.without_long else {long: {}})
    threads = options.threads
    for seed in options.seeds:
        allowed = once(work / f"peer-{seed}" / "done.json", lambda out, seed=seed: peer(text, out, seed, threads))
        runs["peer"][str(seed)] = allowed
        for name, label, seconds in (
            ("short", short, allowed["seconds"]),
            (f"long-{options.minutes:g}", long, 60 * options.minutes),
        ):
            if label not in runs:
                continue
            file = work / f"ours-{name}-{seed}" / "done.json"
            runs[label][str(seed)] = once(
                file, lambda out, seed=seed, seconds=seconds: ours(text, out, seed, threads, seconds)
            )
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "probe": probe(threads)}
    results = {"threads": threads, "machine": machine, "runs": runs}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.results, results)
    print(report(results))


if __name__ == "__main__":
    main()
