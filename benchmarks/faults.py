"""Faults planted in a generator, at several strengths: which are found, by what, and whether a healthy one trips any.

The generator gives back real items that neither the model nor the judge has seen, and the fault is done to them. See
README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contest import write_json
from PIL import Image

from morphogen.core.errors import UserError
from morphogen.core.space import Continuous, Tokens
from morphogen.data.sources import open_source
from morphogen.evaluation.evaluate import evaluate
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.text.codec import TextCodec
from morphogen.testing.replay import replaying

HERE = Path(__file__).resolve().parent
HEALTHY = 10  # draws of fresh items
SEEDS = 2  # draws of each fault
KEPT = ("frechet", "kernel", "coverage", "vendi_ratio", "copies", "repeats", "copying", "two_sample", "discrepancy_p")


@dataclass
class Setting:
    """A source of which some are held out, a codec fitted to the others, and real items that are in neither."""

    name: str
    raw: Any  # the source
    train: Any
    held: Any
    held_at: list[int]
    fresh: Callable[[int], Any]  # so many others, by a seed
    labels: Callable[[int], list[str]]
    codec: Any
    count: int
    flags: dict[str, Any]


def pictures(data: Path) -> Setting:
    """Fashion-MNIST: 10,000 to train on, 2,000 held out, 1,000 of the other 58,000."""
    source = open_source(str(data / "fashion-mnist"))
    order = np.random.default_rng(0).permutation(len(source))
    every = [source.read(int(at)) for at in order]
    labels = [source.columns["label"][at] for at in order.tolist()]
    codec = ImageCodec.fit([every[:10_000]], Continuous)

    def chosen(seed: int) -> list[int]:
        return np.random.default_rng(seed).choice(np.arange(12_000, len(every)), 1000, replace=False).tolist()

    return Setting(
        name="pictures",
        raw=(every[:12_000], labels[:12_000]),
        train=every[:10_000],
        held=every[10_000:12_000],
        held_at=list(range(10_000, 12_000)),
        fresh=lambda seed: [every[at] for at in chosen(seed)],
        labels=lambda seed: [labels[at] for at in chosen(seed)],
        codec=codec,
        count=1000,
        flags={},
    )


def rows(data: Path) -> Setting:
    """Adult: 10,000 rows to train on, 3,000 held out, 3,000 of the other 35,842."""
    import pyarrow as arrow
    import tables_data

    train, test = tables_data.write("adult", data, HERE / ".work" / "faults" / "adult")
    table = arrow.concat_tables([train, test.cast(train.schema)]).combine_chunks()
    table = table.take(np.random.default_rng(0).permutation(len(table)))
    codec = TableCodec.fit([table.slice(0, 10_000)], Tokens)

    def fresh(seed: int) -> Any:
        return table.take(np.random.default_rng(seed).choice(np.arange(13_000, len(table)), 3000, replace=False))

    return Setting(
        name="rows",
        raw=table.slice(0, 13_000),
        train=table.slice(0, 10_000),
        held=table.slice(10_000, 3_000),
        held_at=list(range(10_000, 13_000)),
        fresh=fresh,
        labels=lambda seed: [],
        codec=codec,
        count=3000,
        flags={"target": "income"},
    )


def texts(data: Path) -> Setting:
    """TinyStories: passages of 400 characters, of different stories on either side."""
    source = open_source(str(data / "text" / "tinystories_sample.txt"))
    whole = "\n".join(source.read(at) for at in range(len(source)))
    every = [whole[start : start + 400] for start in range(0, len(whole) - 400, 400)]
    every = [every[at] for at in np.random.default_rng(0).permutation(len(every))]
    count = len(every)
    train, held = every[: count // 2], every[count // 2 : count * 7 // 10]
    rest = every[count * 7 // 10 :]
    codec = TextCodec.fit([every], Tokens)
    size = min(500, len(rest) * 2 // 3)
    return Setting(
        name="texts",
        raw=train + held,
        train=train,
        held=held,
        held_at=list(range(len(train), len(train) + len(held))),
        fresh=lambda seed: [rest[at] for at in np.random.default_rng(seed).choice(len(rest), size, replace=False)],
        labels=lambda seed: [],
        codec=codec,
        count=size,
        flags={},
    )


def joined(setting: Setting, *parts: Any) -> Any:
    if setting.name == "rows":
        import pyarrow as arrow

        return arrow.concat_tables(parts)
    return [item for part in parts for item in part]


def some(items: Any, count: int, seed: int) -> Any:
    chosen = np.random.default_rng(seed).choice(len(items), count, replace=False)
    return items.take(chosen) if hasattr(items, "take") else [items[at] for at in chosen.tolist()]


def brighter(image: Image.Image, by: int) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image).astype(int) + by, 0, 255).astype(np.uint8))


def permuted(table: Any, name: str, share: float, seed: int) -> Any:
    """That share of the rows has its values of one column exchanged among each other."""
    random = np.random.default_rng(seed)
    order = np.arange(len(table))
    chosen = random.choice(len(table), round(share * len(table)), replace=False)
    order[chosen] = random.permutation(chosen)
    return table.set_column(table.column_names.index(name), name, table.column(name).take(order))


Fault = Callable[[Setting, int], Any]


def faults(setting: Setting) -> dict[str, dict[str, Fault]]:
    """Fault → strength → how it is planted."""

    def among(items: str, share: float) -> Fault:
        def plant(setting: Setting, seed: int) -> Any:
            number = max(1, round(share * setting.count))
            return joined(
                setting,
                some(setting.fresh(seed), setting.count - number, seed),
                some(getattr(setting, items), number, seed),
            )

        return plant

    def again(number: int) -> Fault:
        def plant(setting: Setting, seed: int) -> Any:
            fresh = setting.fresh(seed)
            kept = some(fresh, setting.count - number, seed)
            return joined(setting, kept, some(kept, number, seed))

        return plant

    def few(setting: Setting, seed: int) -> Any:
        kept = some(setting.fresh(seed), 50, seed)
        return joined(setting, *[kept] * (setting.count // 50))

    found: dict[str, dict[str, Fault]] = {
        "copies of training items": {
            f"{share:.1%} of the output": among("train", share) for share in (0.002, 0.005, 0.01)
        },
        "held-out items given back": {f"{share:.1%} of the output": among("held", share) for share in (0.01, 1)},
        "items again": {f"{number}": again(number) for number in (10, 50)},
        "no other than 50 items": {"50": few},
    }
    if setting.name == "pictures":

        def without(number: int) -> Fault:
            def plant(setting: Setting, seed: int) -> Any:
                gone = {str(at) for at in np.random.default_rng(seed).choice(10, number, replace=False)}
                labels = setting.labels(seed)
                return [one for one, label in zip(setting.fresh(seed), labels, strict=True) if label not in gone]

            return plant

        def bright(by: int) -> Fault:
            return lambda setting, seed: [brighter(one, by) for one in setting.fresh(seed)]

        found["classes left out"] = {f"{number} of 10": without(number) for number in (1, 2)}
        found["brighter"] = {f"{by} of 255": bright(by) for by in (3, 10)}
    if setting.name == "rows":

        def mixed(share: float) -> Fault:
            return lambda setting, seed: permuted(setting.fresh(seed), "education-num", share, seed)

        found["one column permuted"] = {f"in {share:.0%} of the rows": mixed(share) for share in (0.2, 1)}
    return found


SETTINGS = {"pictures": pictures, "rows": rows, "texts": texts}


def judged(setting: Setting, items: Any, work: Path, **more: Any) -> dict[str, Any]:
    started = time.perf_counter()
    pipeline = replaying(work, open_source(setting.raw), setting.codec, items, setting.held_at)
    found = evaluate(pipeline, source=setting.raw, count=len(items), say=None, **setting.flags, **more)
    assert found is not None
    keys = (
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
    figures = {key: figure.value for key in keys if (figure := found.figure(key)) is not None}
    return {
        "found": [one.name for one in found.checks if one.found],
        "looked": [one.name for one in found.checks],
        "figures": figures,
        "seconds": round(time.perf_counter() - started, 1),
    }


def smuggled(setting: Setting, work: Path, share: float, seed: int) -> str:
    """What is said where that share of the items to judge by are training items."""
    number = round(share * len(setting.held))
    data = joined(setting, some(setting.held, len(setting.held) - number, seed), some(setting.train, number, seed))
    if setting.name == "pictures":
        data = list(data)
    try:
        made = judged(setting, setting.fresh(seed), work, data=data)
    except UserError as refused:
        return f"refused: {refused}"
    return "left out" if "training items in the evaluation" in made["found"] else "not noticed"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    kept = json.loads(options.results.read_text()) if options.results.exists() else {}
    made: dict[str, Any] = kept.get("settings", {})
    for make in [SETTINGS[name] for name in options.settings]:
        setting = make(options.data)
        work = options.work / setting.name
        work.mkdir(parents=True, exist_ok=True)
        print(setting.name, "healthy …", flush=True)
        healthy = [judged(setting, setting.fresh(100 + seed), work) for seed in range(options.healthy)]
        entry: dict[str, Any] = {
            "items": {"train": len(setting.train), "held out": len(setting.held), "generated": setting.count},
            "healthy": {"draws": len(healthy), "found": [one["found"] for one in healthy if one["found"]]},
            "looked": healthy[0]["looked"],
            "healthy_figures": healthy[0]["figures"],
            "faults": {},
            "smuggled": {
                f"{share:.0%}": [smuggled(setting, work, share, seed) for seed in range(SEEDS)] for share in (0.01, 1)
            },
        }
        for name, strengths in faults(setting).items():
            for strength, plant in strengths.items():
                runs = [judged(setting, plant(setting, seed), work) for seed in range(SEEDS)]
                entry["faults"].setdefault(name, {})[strength] = runs
                print(setting.name, name, strength, [one["found"] for one in runs], flush=True)
        made[setting.name] = entry
    return {
        "benchmark": "faults",
        "machine": {"threads": options.threads, "python": platform.python_version(), "torch": torch.__version__},
        "finished": time.strftime("%Y-%m-%d"),
        "settings": made,
    }


def report(results: dict[str, Any]) -> str:
    lines = ["| data | fault | strength | found by, in how many of the draws |", "|---|---|---|---|"]
    for name, entry in results["settings"].items():
        trips = entry["healthy"]["found"]
        said = "none" if not trips else "; ".join(", ".join(one) for one in trips)
        lines.append(f"| {name} | none | {entry['healthy']['draws']} draws | {said} |")
        for fault, strengths in entry["faults"].items():
            for strength, runs in strengths.items():
                counts: dict[str, int] = {}
                for run in runs:
                    for check in run["found"]:
                        counts[check] = counts.get(check, 0) + 1
                by = ", ".join(
                    f"{check} {count}/{len(runs)}" for check, count in sorted(counts.items(), key=lambda one: -one[1])
                )
                lines.append(f"| {name} | {fault} | {strength} | {by or 'not found'} |")
        for share, said_of in entry["smuggled"].items():
            words = ", ".join(sorted({one.split(":")[0] for one in said_of}))
            lines.append(f"| {name} | training items in the evaluation | {share} of them | {words} |")
    return "\n".join(lines)


def main() -> None:
    default = Path(os.environ.get("MORPHOGEN_DATA", HERE.parent.parent / "shared" / "data"))
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, default=default)
    found.add_argument("--work", type=Path, default=HERE / ".work" / "faults")
    found.add_argument("--results", type=Path, default=HERE / "results" / "faults.json")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--healthy", type=int, default=HEALTHY, help="draws of a healthy generator")
    found.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    found.add_argument("--report", action="store_true", help="print the table of the results there are, and end")
    options = found.parse_args()
    if not options.report:
        write_json(options.results, measure(options))
    print(report(json.loads(options.results.read_text())))


if __name__ == "__main__":
    main()
