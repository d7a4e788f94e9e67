"""Tables: mostlyai-engine at its defaults, and ours in no more than the seconds that it took.

Each run is a process of its own and writes its result to the work folder; finished runs are not repeated. See
README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tables_data
import torch
from contest import DATA, probe, write_json
from peers import environment
from text import run

HERE = Path(__file__).resolve().parent
START_UP = 16.0  # seconds of the commands outside the budget: importing, twice, and sampling the rows
SEEDS = {"adult": (0, 1, 2, 3, 4), "shoppers": (0, 1, 2), "magic": (0, 1, 2), "beijing": (0, 1, 2)}
REAL = "real data"
BASELINES = {"trees": "sequential_trees", "mixture": "mixture", "independent": "independent"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder above tables/")
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "tables")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "tables.json")
    parser.add_argument("--tables", nargs="+", choices=list(SEEDS), default=list(SEEDS))
    parser.add_argument("--seeds", type=int, default=5, help="of each table at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--families", action="store_true", help="our other families, two minutes each, one seed")
    parser.add_argument("--report", action="store_true", help="print the table of the last results")
    return parser.parse_args()


def peer(folder: Path, out: Path, rows: int, seed: int, threads: int) -> dict[str, Any]:
    """Fit mostlyai-engine to the training rows, generate as many, and return its result."""
    python, packages = environment.make("mostlyai")
    command = [str(python), str(HERE / "peers" / "mostlyai_tables.py"), "--data", str(folder / "train.parquet")]
    command += ["--out", str(out / "rows.parquet"), "--rows", str(rows), "--seed", str(seed), "--threads", str(threads)]
    process = run(command, out / "log.txt", threads)
    versions = [line for line in packages if line.split("==")[0] in ("torch", "mostlyai-engine")]
    return {"seconds": round(process.seconds, 1), **json.loads(process.last_line), "packages": versions}


def ours(
    folder: Path, out: Path, rows: int, seed: int, threads: int, seconds: float, flags: Sequence[str] = ()
) -> dict[str, Any]:
    """Run `morphogen fit` and `morphogen sample` at their defaults, within that many seconds; return the result."""
    command = str(Path(sys.executable).with_name("morphogen"))
    minutes = (seconds - START_UP) / 60
    fit = [command, "fit", str(folder), "--minutes", f"{minutes:.4f}", "--train.seed", str(seed), *flags]
    fitting = run([*fit, "--out", str(out / "model")], out / "log.txt", threads)
    sample = [command, "sample", str(out / "model"), "-n", str(rows), "--seed", str(1_000_000 * seed)]
    sampling = run([*sample, "--out", str(out / "samples")], out / "log.txt", threads)
    (out / "samples" / "rows.parquet").rename(out / "rows.parquet")
    training = json.loads((out / "model" / "metrics.json").read_text())["training"]
    return {
        "seconds": round(fitting.seconds + sampling.seconds, 1),
        "allowed": round(seconds, 1),
        "seconds_training": round(fitting.seconds, 1),
        "seconds_sampling": round(sampling.seconds, 1),
        "peak_gigabytes": max(fitting.peak_gigabytes, sampling.peak_gigabytes),
        "training": training,
    }


def measure(rows: Any, train: Any, test: Any, target: str, seed: int) -> dict[str, float]:
    """Return the figures of rows, whether real, generated, or of a baseline."""
    from morphogen.modalities.table.statistics.c2st import c2st_auc
    from morphogen.modalities.table.statistics.column_quality import shape, trend
    from morphogen.modalities.table.statistics.utility import utility

    rows = rows.select(train.column_names).cast(train.schema, safe=False)
    return {
        "two_sample": round(c2st_auc(train, rows, seed=seed), 4),
        "two_sample_test": round(c2st_auc(test, rows, seed=seed), 4),
        "utility": round(utility(rows, test, target, seed=seed)[0], 4),
        "shape": round(shape(train, rows), 4),
        "trend": round(trend(train, rows), 4),
        "copied": round(copied_share(rows, train), 4),
    }


def copied_share(rows: Any, train: Any) -> float:
    """Return the share of rows that equal a training row, cell by cell."""
    training_rows = set(zip(*(column.to_pylist() for column in train.columns), strict=True))
    copies = [row in training_rows for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)]
    return sum(copies) / len(copies)


def baseline(name: str, train: Any, test: Any, target: str) -> dict[str, Any]:
    """Return the result of a baseline in `morphogen.modalities.table.baselines`, with one seed."""
    from morphogen.modalities.table import baselines

    started = time.perf_counter()
    rows = getattr(baselines, BASELINES[name])(train, len(train))
    return {"seconds": round(time.perf_counter() - started, 1), **measure(rows, train, test, target, 0)}


def real_data(train: Any, test: Any, target: str) -> dict[str, Any]:
    """Return the figures of real test rows; for utility of the training rows, and no C2ST of test against test rows."""
    from morphogen.modalities.table.statistics.utility import utility

    figures = measure(test, train, test, target, 0)
    return figures | {"utility": utility(train, test, target, seed=0)[0], "two_sample_test": None}


def once(out: Path, make: Callable[[], dict[str, Any]], train: Any, test: Any, target: str, seed: int) -> Any:
    """Return the result in a folder; if there is none, that of `make`, with the figures of its rows."""
    import pyarrow.parquet as parquet

    file = out / "result.json"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        result = make()
        result |= measure(parquet.read_table(out / "rows.parquet"), train, test, target, seed)
        write_json(file, result)
    result = json.loads(file.read_text())
    print(out.parent.name, out.name, {name: value for name, value in result.items() if name != "training"}, flush=True)
    return result


def families(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the results of our other families, two minutes each: of the gan's, one is for the vae it is fitted on."""
    target, folder, work = tables_data.TARGETS[name], options.work / name / "data", options.work / name
    train, test = tables_data.write(name, options.data, folder)

    def fit(family: str, out: Path, rows: int, seconds: float, *flags: str) -> dict[str, Any]:
        out.mkdir(parents=True, exist_ok=True)
        return ours(folder, out, rows, 0, options.threads, seconds, ["--family", family, *flags])

    def make(family: str) -> dict[str, Any]:
        if family != "gan":
            return fit(family, work / family, len(train), 120.0)
        autoencoder = work / "vae-of-a-minute"
        before = fit("vae", autoencoder, 1, 60.0)
        result = fit("gan", work / "gan", len(train), 60.0, "--autoencoder", str(autoencoder / "model"))
        return result | {"seconds": result["seconds"] + before["seconds"], "allowed": 120.0}

    return {
        family: once(work / family, lambda family=family: make(family), train, test, target, 0)
        for family in ("vae", "diffusion", "gan")
    }


def contest(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the results on one table: real data, baselines, and for each seed the peer and ours."""
    target, folder = tables_data.TARGETS[name], options.work / name / "data"
    train, test = tables_data.write(name, options.data, folder)
    results: dict[str, Any] = {"rows": [len(train), len(test)], REAL: real_data(train, test, target)}
    results |= {who: baseline(who, train, test, target) for who in BASELINES}
    results["runs"] = []
    count, threads = len(train), options.threads
    for seed in SEEDS[name][: options.seeds]:
        result: dict[str, Any] = {"seed": seed, "probe": probe(threads)}
        out = options.work / name / f"peer-{seed}"
        theirs = once(
            out, lambda out=out, seed=seed: peer(folder, out, count, seed, threads), train, test, target, seed
        )
        out, seconds = options.work / name / f"ours-{seed}", theirs["seconds"]

        def make(out: Path = out, seed: int = seed, seconds: float = seconds) -> dict[str, Any]:
            return ours(folder, out, count, seed, threads, seconds)

        results["runs"].append(result | {"peer": theirs, "ours": once(out, make, train, test, target, seed)})
    return results


def report(results: dict[str, Any]) -> str:
    """Return a Markdown table: means over seeds, with the half-width of a 95 % interval for several seeds."""
    names = ("two_sample", "two_sample_test", "utility", "shape", "trend", "copied")
    lines = [
        "| table | who | seconds | GB | C2ST, training rows | C2ST, test rows | utility | Shape | Trend | copied |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for table, entry in results["tables"].items():
        others = entry.get("families", {})
        for who in (REAL, "peer", "ours", *others, *BASELINES):
            runs = [(entry | others)[who]] if who in entry | others else [run[who] for run in entry["runs"]]
            if not runs:
                continue
            seconds = "" if who == REAL else f"{statistics.mean(run['seconds'] for run in runs):.0f} | "
            peaks = [run["peak_gigabytes"] for run in runs if "peak_gigabytes" in run]
            seconds = f"{seconds}{max(peaks):.2f}" if peaks else seconds or "| "
            cells = [_cell([run[name] for run in runs]) for name in names]
            lines.append(f"| {table} | {who} | {seconds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(figures: list[float | None]) -> str:
    """Return the mean of the figures that there are, and the half-width of its interval."""
    values = [figure for figure in figures if figure is not None]
    if not values:
        return "–"
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    quantile = {2: 12.7, 3: 4.30, 4: 3.18, 5: 2.78}[len(values)]  # of Student's t
    return f"{mean:.4f} ± {quantile * statistics.stdev(values) / len(values) ** 0.5:.4f}"


def main() -> None:
    options = arguments()
    if not options.report:
        before = json.loads(options.results.read_text()) if options.results.exists() else {"tables": {}}
        results = {
            "machine": {"threads": options.threads, "python": platform.python_version(), "torch": torch.__version__},
            "finished": time.strftime("%Y-%m-%d"),
            "tables": before["tables"],
        }
        tables = results["tables"]
        for name in options.tables:
            if options.families:
                tables.setdefault(name, {"runs": []})["families"] = families(name, options)
            else:
                earlier = {key: value for key, value in tables.get(name, {}).items() if key == "families"}
                tables[name] = contest(name, options) | earlier
            write_json(options.results, results)
    print(report(json.loads(options.results.read_text())))


if __name__ == "__main__":
    main()
