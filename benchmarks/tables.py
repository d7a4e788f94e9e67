"""The race on tables: mostlyai-engine at its defaults, and ours in no more than the seconds that it took.

Each run is a process of its own and leaves its result in the work folder; what is there is not done again. See
README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tables_data
import torch
from contest import write_json
from peers import environment
from text import probe, run

HERE = Path(__file__).resolve().parent
START_UP = 16.0  # seconds that the commands need besides the budget: to import, twice, and to draw the rows
SEEDS = {"adult": (0, 1, 2, 3, 4), "shoppers": (0, 1, 2), "magic": (0, 1, 2), "beijing": (0, 1, 2)}


def arguments() -> argparse.Namespace:
    default = Path(os.environ.get("MORPHOGEN_DATA", HERE.parent.parent / "shared" / "data"))
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, default=default, help="the folder above tables/")
    found.add_argument("--work", type=Path, default=HERE / ".work" / "tables")
    found.add_argument("--results", type=Path, default=HERE / "results" / "tables.json")
    found.add_argument("--tables", nargs="+", choices=list(SEEDS), default=list(SEEDS))
    found.add_argument("--seeds", type=int, default=5, help="of each table at most")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--families", action="store_true", help="our other families, two minutes each, one seed")
    found.add_argument("--report", action="store_true", help="print the table of the results there are, and end")
    return found.parse_args()


def peer(folder: Path, out: Path, rows: int, seed: int, threads: int) -> dict[str, Any]:
    """mostlyai-engine, from the training rows to as many."""
    python, packages = environment.make("mostlyai")
    command = [str(python), str(HERE / "peers" / "mostlyai_tables.py"), "--data", str(folder / "train.parquet")]
    command += ["--out", str(out / "rows.parquet"), "--rows", str(rows), "--seed", str(seed), "--threads", str(threads)]
    ran = run(command, out / "log.txt", threads)
    wanted = [line for line in packages if line.split("==")[0] in ("torch", "mostlyai-engine")]
    return {"seconds": round(ran.seconds, 1), **json.loads(ran.said), "packages": wanted}


def ours(
    folder: Path, out: Path, rows: int, seed: int, threads: int, seconds: float, flags: Sequence[str] = ()
) -> dict[str, Any]:
    """`morphogen fit` and `morphogen sample` at their defaults, within so many seconds together."""
    command = str(Path(sys.executable).with_name("morphogen"))
    minutes = (seconds - START_UP) / 60
    fit = [command, "fit", str(folder), "--minutes", f"{minutes:.4f}", "--train.seed", str(seed), *flags]
    trained = run([*fit, "--out", str(out / "model")], out / "log.txt", threads)
    sample = [command, "sample", str(out / "model"), "-n", str(rows), "--seed", str(1_000_000 * seed)]
    drawn = run([*sample, "--out", str(out / "samples")], out / "log.txt", threads)
    (out / "samples" / "rows.parquet").rename(out / "rows.parquet")
    training = json.loads((out / "model" / "metrics.json").read_text())["training"]
    return {
        "seconds": round(trained.seconds + drawn.seconds, 1),
        "allowed": round(seconds, 1),
        "seconds_training": round(trained.seconds, 1),
        "seconds_sampling": round(drawn.seconds, 1),
        "peak_gigabytes": max(trained.peak_gigabytes, drawn.peak_gigabytes),
        "training": training,
    }


def measured(rows: Any, train: Any, test: Any, target: str, seed: int) -> dict[str, float]:
    """The same for all: of rows that are real, generated, or independent columns."""
    from morphogen.evaluation import tables

    rows = rows.select(train.column_names).cast(train.schema, safe=False)
    return {
        "two_sample": round(tables.two_sample(train, rows, seed=seed), 4),
        "two_sample_test": round(tables.two_sample(test, rows, seed=seed), 4),
        "utility": round(tables.utility(rows, test, target, seed=seed)[0], 4),
        "shape": round(tables.shape(train, rows), 4),
        "trend": round(tables.trend(train, rows), 4),
        "copied": round(copied(rows, train), 4),
    }


def copied(rows: Any, train: Any) -> float:
    """The share of rows that are a training row, cell by cell."""
    real = set(zip(*(column.to_pylist() for column in train.columns), strict=True))
    return sum(row in real for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)) / len(rows)


def referred(reference: Any, train: Any, test: Any, target: str) -> dict[str, Any]:
    """A reference of `morphogen.evaluation.references`, one draw."""
    started = time.perf_counter()
    rows = reference(train, len(train))
    return {"seconds": round(time.perf_counter() - started, 1), **measured(rows, train, test, target, 0)}


def families(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Our other families, in two minutes each; the gan has one of them, and the vae that it goes through the other."""
    import pyarrow.parquet as parquet

    target, folder = tables_data.TARGETS[name], options.work / name / "data"
    train, test = tables_data.write(name, options.data, folder)
    half = options.work / name / "vae-of-a-minute"
    found: dict[str, Any] = {}
    for family, seconds, flags in (
        ("vae", 120.0, []),
        ("diffusion", 120.0, []),
        ("gan", 60.0, ["--through", str(half / "model")]),
    ):
        out = options.work / name / family
        kept = out / "result.json"
        if not kept.exists():
            out.mkdir(parents=True, exist_ok=True)
            spent = 0.0
            if family == "gan":
                half.mkdir(parents=True, exist_ok=True)
                spent = ours(folder, half, 1, 0, options.threads, 60.0, ["--family", "vae"])["seconds"]
            made = ours(folder, out, len(train), 0, options.threads, seconds, ["--family", family, *flags])
            made |= {"seconds": made["seconds"] + spent, "allowed": 120.0}
            made |= measured(parquet.read_table(out / "rows.parquet"), train, test, target, 0)
            write_json(kept, made)
        found[family] = json.loads(kept.read_text())
        print(name, family, {key: value for key, value in found[family].items() if key != "training"}, flush=True)
    return found


def race(name: str, options: argparse.Namespace) -> dict[str, Any]:
    import pyarrow.parquet as parquet

    from morphogen.evaluation import references
    from morphogen.evaluation.tables import utility

    target, folder = tables_data.TARGETS[name], options.work / name / "data"
    train, test = tables_data.write(name, options.data, folder)
    found: dict[str, Any] = {
        "rows": [len(train), len(test)],
        # Real rows against real ones; of the test rows against themselves there is nothing to tell.
        "ceiling": measured(test, train, test, target, 0)
        | {"utility": utility(train, test, target, seed=0)[0], "two_sample_test": None},
        "floor": referred(references.independent, train, test, target),
        "mixture": referred(references.mixture, train, test, target),
        "trees": referred(references.sequential_trees, train, test, target),
        "runs": [],
    }
    for seed in SEEDS[name][: options.seeds]:
        result: dict[str, Any] = {"seed": seed, "probe": probe(options.threads)}
        for who in ("peer", "ours"):
            out = options.work / name / f"{who}-{seed}"
            kept = out / "result.json"
            if not kept.exists():
                out.mkdir(parents=True, exist_ok=True)
                if who == "peer":
                    made = peer(folder, out, len(train), seed, options.threads)
                else:
                    made = ours(folder, out, len(train), seed, options.threads, result["peer"]["seconds"])
                made |= measured(parquet.read_table(out / "rows.parquet"), train, test, target, seed)
                write_json(kept, made)
            result[who] = json.loads(kept.read_text())
            print(name, seed, who, {key: value for key, value in result[who].items() if key != "training"}, flush=True)
        found["runs"].append(result)
    return found


def report(results: dict[str, Any]) -> str:
    """A markdown table: means over seeds, with the half-width of a 95 % interval where there are several."""
    names = ("two_sample", "two_sample_test", "utility", "shape", "trend", "copied")
    lines = [
        "| table | who | seconds | GB | C2ST, training rows | C2ST, test rows | utility | Shape | Trend | copied |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for table, found in results["tables"].items():
        others = found.get("families", {})
        for who in ("ceiling", "peer", "ours", *others, "trees", "mixture", "floor"):
            runs = [(found | others)[who]] if who in found | others else [run[who] for run in found["runs"]]
            if not runs:
                continue
            seconds = "" if who == "ceiling" else f"{statistics.mean(run['seconds'] for run in runs):.0f} | "
            held = [run["peak_gigabytes"] for run in runs if "peak_gigabytes" in run]
            seconds = f"{seconds}{max(held):.2f}" if held else seconds or "| "
            cells = [_interval([run[name] for run in runs]) for name in names]
            lines.append(f"| {table} | {who} | {seconds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    if not found:
        return "–"
    return _mean(found)


def _mean(values: list[float]) -> str:
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    quantile = {2: 12.7, 3: 4.30, 4: 3.18, 5: 2.78}[len(values)]  # of Student's t
    return f"{mean:.4f} ± {quantile * statistics.stdev(values) / len(values) ** 0.5:.4f}"


def main() -> None:
    options = arguments()
    if not options.report:
        kept = json.loads(options.results.read_text()) if options.results.exists() else {"tables": {}}
        results = {
            "machine": {"threads": options.threads, "python": platform.python_version(), "torch": torch.__version__},
            "finished": time.strftime("%Y-%m-%d"),
            "tables": kept["tables"],
        }
        for name in options.tables:
            if options.families:
                results["tables"].setdefault(name, {"runs": []})["families"] = families(name, options)
            else:
                before = results["tables"].get(name, {})
                results["tables"][name] = race(name, options)
                if "families" in before:
                    results["tables"][name]["families"] = before["families"]
            write_json(options.results, results)
    print(report(json.loads(options.results.read_text())))


if __name__ == "__main__":
    main()
