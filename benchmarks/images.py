"""Pictures: ours against diffusers and pythae after equal minutes of training. One command.

On Fashion-MNIST (28 x 28, grey, 60,000), or with `--data-set emoji64` on EmojiTwo (64 x 64, colour, 1,600). Each
contestant is a process of its own and writes its result to the work folder. Finished contestants are not repeated, so
a benchmark that was stopped continues. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import emoji64
from contest import DATA, probe, process_variables, write_json
from peers import environment

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Contestant:
    """A script, the peer whose environment it runs in ("" is ours), and its own flags."""

    script: str
    peer: str = ""
    flags: tuple[str, ...] = ()


PEERS = {
    "diffusers": Contestant("peers/diffusers_unet.py", peer="diffusers"),
    "pythae": Contestant("peers/pythae_vae.py", peer="pythae"),
}


def ours(family: str, *flags: str) -> Contestant:
    return Contestant("ours.py", flags=("--family", family, *flags))


CONTESTANTS = {
    "fashion-mnist": PEERS
    | {
        "ours-diffusion-conditional": ours("diffusion", "--conditional"),
        "ours-diffusion-unconditional": ours("diffusion"),
        "ours-vae-conditional": ours("vae", "--conditional"),
        "ours-vae-unconditional": ours("vae"),
        "ours-gan-conditional": ours("gan", "--conditional"),
        "ours-gan-unconditional": ours("gan"),
        "ours-gan-unconditional-1": ours("gan", "--fit-seed", "1"),
        "ours-gan-unconditional-2": ours("gan", "--fit-seed", "2"),
        "ours-autoregressive-conditional": ours("autoregressive", "--autoencoder", "vq", "--conditional"),
        "ours-autoregressive-unconditional": ours("autoregressive", "--autoencoder", "vq"),
    },
    "emoji64": PEERS
    | {
        "ours-vae": ours("vae"),
        "ours-diffusion": ours("diffusion"),
        "ours-latent-diffusion": ours("diffusion", "--autoencoder", "vae"),
        "ours-gan": ours("gan"),
        "ours-autoregressive": ours("autoregressive", "--autoencoder", "vq"),
    },
}
SAMPLES = {"fashion-mnist": 10_000, "emoji64": 2000}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-set", choices=CONTESTANTS, default="fashion-mnist")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder above that of the data set")
    parser.add_argument("--work", type=Path, help="default: .work/images, for emoji64 .work/emoji64")
    parser.add_argument("--results", type=Path, help="default: results/images.json, for emoji64 results/emoji64.json")
    names = dict.fromkeys(name for contestants in CONTESTANTS.values() for name in contestants)
    parser.add_argument("--only", nargs="+", choices=["judge", *names, "measure"], help="run only these")
    parser.add_argument("--again", action="store_true", help="set the earlier results of these aside, and repeat them")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--samples", type=int, help="of each contestant; default: 10,000, for emoji64 2,000")
    parser.add_argument("--judge-epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--control", action="append", default=[], metavar="NAME=VALUE", help="a Control for ours-diffusion-*"
    )
    parser.add_argument("--report", action="store_true", help="print the table of the last results")
    return parser.parse_args()


def run(python: Path | str, script: str, flags: list[str], log: Path | None, threads: int) -> bool:
    """Run a script with that many threads, its output in the log; return whether it succeeded."""
    variables = process_variables(threads)
    command = [str(python), str(HERE / script), *flags]
    if log is None:
        return subprocess.run(command, env=variables, check=False).returncode == 0
    with log.open("a") as file:
        process = subprocess.run(command, env=variables, stdout=file, stderr=subprocess.STDOUT, check=False)
    if process.returncode:
        print(f"failed with {process.returncode}; the end of {log}:", *log.read_text().splitlines()[-15:], sep="\n  ")
    return process.returncode == 0


def compete(name: str, options: argparse.Namespace) -> bool:
    """Run a contestant, unless its result exists already with the same settings; return whether there is a result."""
    contestant, folder = CONTESTANTS[options.data_set][name], options.work / name
    flags = [*contestant.flags]
    if "diffusion" in contestant.flags:
        flags += [part for control in options.control for part in ("--control", control)]
    terms = {"minutes": options.minutes, "samples": options.samples, "seed": options.seed, "threads": options.threads}
    terms["flags"] = list(flags)
    file = folder / "done.json"
    done: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if done and not options.again:
        if {key: done[key] for key in terms} != terms:
            print(f"{name}: {folder} holds a run with other settings; repeat it with --again, or choose another --work")
            return False
        print(f"{name}: finished earlier")
        return True
    if options.again and folder.exists():
        folder.rename(folder.with_name(f".{name}.{int(time.time())}"))  # set aside, never deleted
    folder.mkdir(parents=True, exist_ok=True)

    python, packages = environment.make(contestant.peer) if contestant.peer else (Path(sys.executable), [])
    machine = probe(options.threads)
    print(f"{name}: {machine} … log in {folder / 'log.txt'}", flush=True)
    flags += ["--data", str(options.data), "--out", str(folder), "--minutes", str(options.minutes)]
    flags += ["--samples", str(options.samples), "--threads", str(options.threads), "--seed", str(options.seed)]
    start = time.perf_counter()
    succeeded = run(python, contestant.script, flags, folder / "log.txt", options.threads)
    if succeeded:
        names = ("torch", "numpy", "diffusers", "pythae", "scikit-learn")
        packages = [line for line in packages if line.split("==")[0] in names]
        write_json(file, terms | {"probe": machine, "total_seconds": time.perf_counter() - start, "packages": packages})
    print(f"{name}: {'finished' if succeeded else 'FAILED'} after {time.perf_counter() - start:.0f} s", flush=True)
    return succeeded


def report(results: Path) -> None:
    """Print the table of the results."""
    if not results.exists():
        sys.exit(f"{results} does not exist; run the benchmark first")
    from images_measure import table

    print(table(json.loads(results.read_text())))


def main() -> None:
    options = arguments()
    label = "images" if options.data_set == "fashion-mnist" else options.data_set
    options.work = (options.work or HERE / ".work" / label).resolve()
    options.results = (options.results or HERE / "results" / f"{label}.json").resolve()
    options.samples = options.samples or SAMPLES[options.data_set]
    if options.report:
        report(options.results)
        return
    options.data = options.data / options.data_set
    if not options.data.is_dir():
        sys.exit(f"{options.data} is not a folder; give --data, or set MORPHOGEN_DATA, the folder above it")
    contestants = CONTESTANTS[options.data_set]
    if options.only and (others := set(options.only) - {"judge", *contestants, "measure"}):
        sys.exit(f"{', '.join(others)}: no contestant on {options.data_set}; choose from {', '.join(contestants)}")
    options.work.mkdir(parents=True, exist_ok=True)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    if options.data_set == "emoji64":
        emoji64.write(options.data / "emojitwo64.parquet", options.work / "emoji64")
        options.data = options.work / "emoji64"
    chosen = options.only or ["judge", *contestants, "measure"]
    data = ["--data", str(options.data), "--threads", str(options.threads)]

    if not (options.work / "judge" / "judge.json").exists() and {"judge", "measure"} & set(chosen):
        print("training the judge …", flush=True)
        flags = [*data, "--out", str(options.work / "judge"), "--epochs", str(options.judge_epochs)]
        if not run(sys.executable, "images_classifier.py", flags, None, options.threads):
            sys.exit("the judge could not be trained")
    failed = [name for name in chosen if name in contestants and not compete(name, options)]
    if "measure" in chosen:
        flags = [*data, "--out", str(options.results), "--work", str(options.work)]
        if not run(sys.executable, "images_measure.py", flags, None, options.threads):
            sys.exit("measuring failed")
        results = json.loads(options.results.read_text())
        machine = {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        write_json(
            options.results, results | {"minutes": options.minutes, "threads": options.threads, "machine": machine}
        )
        report(options.results)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
