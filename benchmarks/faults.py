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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contest import DATA, write_json
from PIL import Image

from morphogen.core.codec import Codec
from morphogen.core.errors import UserError
from morphogen.core.modality import Modality, modality
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

Fault = Callable[[int], Any]  # the generator's items, with the fault, for a seed


@dataclass(frozen=True)
class Setting:
    """Training items, held-out items, a codec fitted to the training items, and a generator of other real items."""

    name: str
    modality: Modality[Any]
    source: Any  # the training items, then the held-out ones
    train: Any
    held_out: Any
    codec: Codec[Any]
    count: int  # of items that the generator returns
    fresh: Callable[[int], Any]  # that many other real items, by a seed
    flags: dict[str, Any] = field(default_factory=dict)  # of the evaluation
    faults: dict[str, dict[str, Fault]] = field(default_factory=dict)  # of this data only, by name and strength

    def join(self, *parts: Any) -> Any:
        return self.modality.concatenate(parts)

    def some(self, items: Any, count: int, seed: int) -> Any:
        """Return that many random items."""
        return self.modality.take(items, choose(np.arange(len(items)), count, seed))


def choose(indices: np.ndarray, count: int, seed: int) -> list[int]:
    """Return that many of the indices, at random."""
    return np.random.default_rng(seed).choice(indices, count, replace=False).tolist()


def fit_codec(own: Modality[Any], items: Any) -> Codec[Any]:
    """Return the modality's codec, of the kind of space that it prefers."""
    return own.fit([items], own.spaces[0], own.Options())


def pictures(data: Path) -> Setting:
    """Return Fashion-MNIST: 10,000 training pictures, 2,000 held out, 1,000 of the other 58,000 generated."""
    own, source = modality("image"), open_source(str(data / "fashion-mnist"))
    order = np.random.default_rng(0).permutation(len(source)).tolist()
    items, labels = [source.read(index) for index in order], [source.columns["label"][index] for index in order]

    def chosen(seed: int) -> list[int]:
        return choose(np.arange(12_000, len(items)), 1000, seed)

    def without(number: int, seed: int) -> list[Image.Image]:
        missing = {str(label) for label in choose(np.arange(10), number, seed)}
        return [items[index] for index in chosen(seed) if labels[index] not in missing]

    def brighter(by: int, seed: int) -> list[Image.Image]:
        pixels = [np.asarray(items[index]).astype(int) + by for index in chosen(seed)]
        return [Image.fromarray(np.clip(one, 0, 255).astype(np.uint8)) for one in pixels]

    return Setting(
        name="pictures",
        modality=own,
        source=(items[:12_000], labels[:12_000]),
        train=items[:10_000],
        held_out=items[10_000:12_000],
        codec=fit_codec(own, items[:10_000]),
        count=1000,
        fresh=lambda seed: [items[index] for index in chosen(seed)],
        faults={
            "missing classes": {f"{n} of 10": lambda seed, n=n: without(n, seed) for n in (1, 2)},
            "brighter": {f"{by} of 255": lambda seed, by=by: brighter(by, seed) for by in (3, 10)},
        },
    )


def rows(data: Path) -> Setting:
    """Return Adult: 10,000 training rows, 3,000 held out, 3,000 of the other 35,842 generated."""
    import pyarrow as arrow
    import tables_data

    own = modality("table")
    train, test = tables_data.write("adult", data, HERE / ".work" / "faults" / "adult")
    table = arrow.concat_tables([train, test.cast(train.schema)]).combine_chunks()
    table = table.take(np.random.default_rng(0).permutation(len(table)))

    def fresh(seed: int) -> Any:
        return table.take(choose(np.arange(13_000, len(table)), 3000, seed))

    def permuted(share: float, seed: int) -> Any:
        """Exchange the values of one column among that share of the rows."""
        items, name, random = fresh(seed), "education-num", np.random.default_rng(seed)
        order = np.arange(len(items))
        chosen = random.choice(len(items), round(share * len(items)), replace=False)
        order[chosen] = random.permutation(chosen)
        return items.set_column(items.column_names.index(name), name, items.column(name).take(order))

    return Setting(
        name="rows",
        modality=own,
        source=table.slice(0, 13_000),
        train=table.slice(0, 10_000),
        held_out=table.slice(10_000, 3_000),
        codec=fit_codec(own, table.slice(0, 10_000)),
        count=3000,
        fresh=fresh,
        flags={"target": "income"},
        faults={
            "one column permuted": {
                f"in {share:.0%} of the rows": lambda seed, share=share: permuted(share, seed) for share in (0.2, 1)
            }
        },
    )


def texts(data: Path) -> Setting:
    """Return TinyStories: passages of 400 characters of the whole text, in random order."""
    own, source = modality("text"), open_source(str(data / "text" / "tinystories_sample.txt"))
    whole = "\n".join(source.read(index) for index in range(len(source)))
    passages = [whole[start : start + 400] for start in range(0, len(whole) - 400, 400)]
    passages = [passages[index] for index in np.random.default_rng(0).permutation(len(passages))]
    count = len(passages)
    train, held_out = passages[: count // 2], passages[count // 2 : count * 7 // 10]
    rest = passages[count * 7 // 10 :]
    size = min(500, len(rest) * 2 // 3)
    return Setting(
        name="texts",
        modality=own,
        source=train + held_out,
        train=train,
        held_out=held_out,
        codec=fit_codec(own, passages),
        count=size,
        fresh=lambda seed: [rest[index] for index in choose(np.arange(len(rest)), size, seed)],
    )


SETTINGS = {"pictures": pictures, "rows": rows, "texts": texts}


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


def measure_setting(setting: Setting, work: Path, healthy_runs: int) -> dict[str, Any]:
    """Return the results of the healthy generator, of all faults, and of contaminated data."""
    print(setting.name, "healthy …", flush=True)
    healthy = [evaluate_items(setting, setting.fresh(100 + seed), work) for seed in range(healthy_runs)]
    entry: dict[str, Any] = {
        "items": {"train": len(setting.train), "held_out": len(setting.held_out), "generated": setting.count},
        "healthy": {"runs": len(healthy), "detected": [run["detected"] for run in healthy if run["detected"]]},
        "checks": healthy[0]["checks"],
        "healthy_figures": healthy[0]["figures"],
        "faults": {},
        "contaminated": {
            f"{share:.0%}": [contaminated(setting, work, share, seed) for seed in range(SEEDS)] for share in (0.01, 1)
        },
    }
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
        results[name] = measure_setting(SETTINGS[name](options.data), work, options.healthy)
    return {
        "benchmark": "faults",
        "machine": {"threads": options.threads, "python": platform.python_version(), "torch": torch.__version__},
        "finished": time.strftime("%Y-%m-%d"),
        "settings": results,
    }


def report(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| data | fault | strength | detected by, in how many runs |", "|---|---|---|---|"]
    for name, entry in results["settings"].items():
        alarms = "; ".join(", ".join(checks) for checks in entry["healthy"]["detected"])
        lines.append(f"| {name} | none | {entry['healthy']['runs']} runs | {alarms or 'none'} |")
        for fault, strengths in entry["faults"].items():
            for strength, runs in strengths.items():
                counts = Counter(check for run in runs for check in run["detected"])
                checks = ", ".join(f"{check} {count}/{len(runs)}" for check, count in counts.most_common())
                lines.append(f"| {name} | {fault} | {strength} | {checks or 'not detected'} |")
        for share, outcomes in entry["contaminated"].items():
            words = ", ".join(sorted({outcome.partition(":")[0] for outcome in outcomes}))
            lines.append(f"| {name} | training items in the evaluation | {share} of them | {words} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "faults")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "faults.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--healthy", type=int, default=HEALTHY, help="runs of the healthy generator")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--report", action="store_true", help="print the table of the last results")
    options = parser.parse_args()
    if not options.report:
        write_json(options.results, measure(options))
    print(report(json.loads(options.results.read_text())))


if __name__ == "__main__":
    main()
