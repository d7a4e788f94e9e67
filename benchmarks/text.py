"""The race on text: tiny Shakespeare, ours in the seconds that the peer took, and ours in ten minutes. One command.

Each run is a process of its own and leaves its result in the work folder; what is there is not done again. See
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
from pathlib import Path
from typing import Any, NamedTuple

import torch
from contest import write_json
from peers import environment
from text_score import score
from torch import Tensor

HERE = Path(__file__).resolve().parent
START_UP = 10.0  # seconds that the command needs besides its budget: to import, to calibrate, and to write the folder


def arguments() -> argparse.Namespace:
    default = Path(os.environ.get("MORPHOGEN_DATA", HERE.parent.parent / "shared" / "data"))
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, default=default, help="the folder above text/tinyshakespeare.txt")
    found.add_argument("--work", type=Path, default=HERE / ".work" / "text")
    found.add_argument("--results", type=Path, default=HERE / "results" / "text.json")
    found.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    found.add_argument("--minutes", type=float, default=10, help="of the longer run of ours")
    found.add_argument("--without-long", action="store_true", help="leave out the longer run of ours")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--report", action="store_true", help="print the table of the results there are, and end")
    return found.parse_args()


class Ran(NamedTuple):
    """Of a process the seconds by the clock, from start to end, what it said last, and the memory it held at most."""

    seconds: float
    said: str
    peak_gigabytes: float


def run(command: list[str], log: Path, threads: int) -> Ran:
    """Run a command, which has to succeed."""
    surroundings = os.environ | {"PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1"}
    surroundings |= {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    started = time.perf_counter()
    with log.open("a") as file:
        process = subprocess.Popen(command, env=surroundings, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = log.read_text().splitlines()
    if process.returncode:
        sys.exit("\n  ".join([f"failed with {process.returncode}; the end of {log}:", *lines[-15:]]))
    return Ran(time.perf_counter() - started, lines[-1], round(used.ru_maxrss / 2**20, 2))


def probe(threads: int) -> dict[str, float]:
    """What the machine can do just now; see probe.py."""
    command = [sys.executable, str(HERE / "probe.py"), str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peer(text: Path, out: Path, seed: int, threads: int) -> dict[str, Any]:
    """The peer, trained and scored."""
    python, packages = environment.make("transformers")
    command = [str(python), str(HERE / "peers" / "nanogpt.py"), "--text", str(text), "--out", str(out / "model")]
    command += ["--seed", str(seed), "--threads", str(threads)]
    seconds = run(command, out / "log.txt", threads).seconds
    said = run([*command, "--score"], out / "score.txt", threads).said
    wanted = [line for line in packages if line.split("==")[0] in ("torch", "transformers")]
    return {"seconds": round(seconds, 1), **json.loads(said), "packages": wanted}


def ours(text: Path, out: Path, seed: int, threads: int, seconds: float) -> dict[str, Any]:
    """`morphogen fit` in so many seconds, the start of the process included, and its score."""
    import morphogen

    minutes = (seconds - START_UP) / 60
    command = [str(Path(sys.executable).with_name("morphogen")), "fit", str(text), "--minutes", f"{minutes:.4f}"]
    command += ["--separator", "none", "--train.seed", str(seed), "--out", str(out / "model")]
    taken = run(command, out / "log.txt", threads).seconds
    pipe = morphogen.load(out / "model")
    data = text.read_text()
    test = pipe.codec.encode([data[int(0.9 * len(data)) :]])[0]
    test = test[(test != pipe.model.space.start) & (test != pipe.model.space.end)]
    nats = score(lambda x: _nats(pipe.model, x), test, pipe.model.space.size[0])
    training = json.loads((out / "model" / "metrics.json").read_text())["training"]
    options = json.loads((out / "model" / "config.json").read_text())["options"]
    return {"seconds": round(taken, 1), "allowed": round(seconds, 1), **nats, "training": training, "options": options}


def _nats(model: Any, x: Tensor) -> Tensor:
    return model.nats_of_sequences(x, {})[:, 1:]


def once(place: Path, make: Any) -> dict[str, Any]:
    """The result at `place`, made where it is not there yet."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, make(place.parent))
    found: dict[str, Any] = json.loads(place.read_text())
    print(place.parent.name, {key: found[key] for key in ("seconds", "nats")}, flush=True)
    return found


def report(results: dict[str, Any]) -> str:
    lines = [
        "| | seed | nats a character | seconds, start-up included | parameters | characters read |",
        "|" + "---|" * 6,
    ]
    for name, runs in results["runs"].items():
        for seed, one in runs.items():
            trained = one.get("training", {})
            read = f"{trained['steps'] * trained['batch'] * one['window']:,}" if trained else "1,536,000"
            size = f"{trained.get('parameters', 0):,}" if trained else "–"
            lines.append(f"| {name} | {seed} | {one['nats']:.4f} | {one['seconds']:.0f} | {size} | {read} |")
    return "\n".join(lines)


def main() -> None:
    options = arguments()
    if options.report:
        print(report(json.loads(options.results.read_text())))
        return
    text, work = options.data / "text" / "tinyshakespeare.txt", options.work.resolve()
    if not text.exists():
        sys.exit(f"{text} is not there; give --data, or set MORPHOGEN_DATA, the folder above text")
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
            place = work / f"ours-{name}-{seed}" / "done.json"
            runs[label][str(seed)] = once(
                place, lambda out, seed=seed, seconds=seconds: ours(text, out, seed, threads, seconds)
            )
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "probe": probe(threads)}
    results = {"threads": threads, "machine": machine, "runs": runs}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.results, results)
    print(report(results))


if __name__ == "__main__":
    main()
