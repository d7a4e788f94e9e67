"""Faults planted in a generator at several strengths: which are detected, by which check, and are there false alarms.

The generator returns real items that neither the model nor the extractor has seen, and the fault is planted in these.
See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from contest import DATA, write_json
from faults_data import SETTINGS, Fault, Setting

from morphogen.core.errors import UserError
from morphogen.data.sources import open_source
from morphogen.evaluation.evaluate import evaluate
from morphogen.evaluation.overlap import CONTAMINATION
from morphogen.testing.replay import replaying

HERE = Path(__file__).resolve().parent
HEALTHY = 10  # runs of the healthy generator
SEEDS = 2  # runs of each fault
FIGURES = (
    "frechet",
    "kernel",
    "coverage",
    "vendi_ratio",
    "copies",
    "repeats",
    "copying",
    "two_sample",
    "discrepancy_p",
)


def all_faults(setting: Setting) -> dict[str, dict[str, Fault]]:
    """Return the faults of any data, and those of this data, by name and strength."""

    def with_some_of(items: Any, share: float, seed: int) -> Any:
        number = max(1, round(share * setting.count))
        others = setting.some(setting.fresh(seed), setting.count - number, seed)
        return setting.join(others, setting.some(items, number, seed))

    def repeated(number: int, seed: int) -> Any:
        others = setting.some(setting.fresh(seed), setting.count - number, seed)
        return setting.join(others, setting.some(others, number, seed))

    def few(number: int, seed: int) -> Any:
        different = setting.some(setting.fresh(seed), number, seed)
        return setting.join(*[different] * (setting.count // number))

    def copies(items: Any, shares: tuple[float, ...]) -> dict[str, Fault]:
        return {
            f"{share:.1%} of the output": lambda seed, share=share: with_some_of(items, share, seed) for share in shares
        }

    return {
        "copies of training items": copies(setting.train, (0.002, 0.005, 0.01)),
        "copies of held-out data": copies(setting.held_out, (0.01, 1)),
        "repeated items": {f"{number}": lambda seed, number=number: repeated(number, seed) for number in (10, 50)},
        "only 50 different items": {"50": lambda seed: few(50, seed)},
        **setting.faults,
    }


def evaluate_items(setting: Setting, items: Any, work: Path, **more: Any) -> dict[str, Any]:
    """Return what an evaluation of these items detects, what it looked for, and some figures."""
    started = time.perf_counter()
    first, count = len(setting.train), len(setting.held_out)
    pipeline = replaying(work, open_source(setting.source), setting.codec, items, range(first, first + count))
    evaluation = evaluate(pipeline, source=setting.source, count=len(items), say=None, **setting.flags, **more)
    assert evaluation is not None
    return {
        "grade": evaluation.grade.level,
        "detected": [check.name for check in evaluation.checks if check.detected],
        "checks": [check.name for check in evaluation.checks],
        "figures": {key: figure.value for key in FIGURES if (figure := evaluation.figure(key)) is not None},
        "seconds": round(time.perf_counter() - started, 1),
    }


def contaminated(setting: Setting, work: Path, share: float, seed: int) -> str:
    """Return what an evaluation does about training items that are that share of the items it judges by."""
    number = round(share * len(setting.held_out))
    others = setting.some(setting.held_out, len(setting.held_out) - number, seed)
    data = setting.join(others, setting.some(setting.train, number, seed))
    try:
        result = evaluate_items(setting, setting.fresh(seed), work, data=data)
    except UserError as error:
        return f"refused: {error}"
    return "left out" if CONTAMINATION in result["detected"] else "not detected"


def measure_setting(setting: Setting, work: Path, healthy_runs: int, *, only_healthy: bool) -> dict[str, Any]:
    """Return the results of the healthy generator, of all faults, and of contaminated data; or only the first."""
    print(setting.name, "healthy …", flush=True)
    healthy = [evaluate_items(setting, setting.fresh(100 + seed), work) for seed in range(healthy_runs)]
    entry: dict[str, Any] = {
        "items": {"train": len(setting.train), "held_out": len(setting.held_out), "generated": setting.count},
        "healthy": {
            "runs": len(healthy),
            "detected": [run["detected"] for run in healthy if run["detected"]],
            "grades": Counter(run["grade"] for run in healthy),
        },
        "checks": healthy[0]["checks"],
        "healthy_figures": healthy[0]["figures"],
        "faults": {},
        "contaminated": {},
    }
    if only_healthy:
        return entry
    for share in (0.01, 1):
        outcomes = [contaminated(setting, work, share, seed) for seed in range(SEEDS)]
        entry["contaminated"][f"{share:.0%}"] = outcomes
    for name, strengths in all_faults(setting).items():
        for strength, generate in strengths.items():
            runs = [evaluate_items(setting, generate(seed), work) for seed in range(SEEDS)]
            entry["faults"].setdefault(name, {})[strength] = runs
            print(setting.name, name, strength, [run["detected"] for run in runs], flush=True)
    return entry


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the results of the chosen settings, and the last ones of the others."""
    torch.set_num_threads(options.threads)
    results = json.loads(options.results.read_text())["settings"] if options.results.exists() else {}
    for name in options.settings:
        work = options.work / name
        work.mkdir(parents=True, exist_ok=True)
        results[name] = measure_setting(
            SETTINGS[name](options.data), work, options.healthy, only_healthy=options.only_healthy
        )
    return {
        "benchmark": "faults",
        "machine": {"threads": options.threads, "python": platform.python_version(), "torch": torch.__version__},
        "finished": time.strftime("%Y-%m-%d"),
        "settings": results,
    }


def report(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| data | fault | strength | grades | detected by, in how many runs |", "|---|---|---|---|---|"]
    for name, entry in results["settings"].items():
        alarms = "; ".join(", ".join(checks) for checks in entry["healthy"]["detected"])
        grades = _counted(entry["healthy"]["grades"])
        lines.append(f"| {name} | none | {entry['healthy']['runs']} runs | {grades} | {alarms or 'none'} |")
        for fault, strengths in entry["faults"].items():
            for strength, runs in strengths.items():
                counts = Counter(check for run in runs for check in run["detected"])
                checks = ", ".join(f"{check} {count}/{len(runs)}" for check, count in counts.most_common())
                grades = _counted(Counter(run["grade"] for run in runs))
                lines.append(f"| {name} | {fault} | {strength} | {grades} | {checks or 'not detected'} |")
        for share, outcomes in entry["contaminated"].items():
            words = ", ".join(sorted({outcome.partition(":")[0] for outcome in outcomes}))
            lines.append(f"| {name} | training items in the evaluation | {share} of them | | {words} |")
    return "\n".join(lines)


def _counted(grades: dict[str, int]) -> str:
    return ", ".join(f"{level} {count}" for level, count in sorted(grades.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "faults")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "faults.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--healthy", type=int, default=HEALTHY, help="runs of the healthy generator")
    parser.add_argument("--only-healthy", action="store_true", help="no faults: are there false alarms?")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--report", action="store_true", help="print the table of the last results")
    options = parser.parse_args()
    if not options.report:
        write_json(options.results, measure(options))
    print(report(json.loads(options.results.read_text())))


if __name__ == "__main__":
    main()
