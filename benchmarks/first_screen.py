"""What the README's first screen shows: three fits of two minutes, their grades, and `docs/real-and-made.png`.

usage: python benchmarks/first_screen.py [--minutes 2] [--threads 1] [--only pictures rows texts] [--report]

Fashion-MNIST (MIT), Adult (CC BY 4.0) and the beginning of TinyStories (CDLA-Sharing-1.0) are fitted by the command
line at its defaults, evaluated on data that were held out, and sampled at seeds from 0 on: nothing is selected. A
model that is in the work folder is not fitted again. `--report` prints the table of the last results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tables_data
from contest import DATA, HERE, pictures, write_json
from PIL import Image, ImageDraw, ImageFont

import morphogen
from morphogen.data.sources import open_source

COLUMNS = ("age", "education", "marital-status", "occupation", "sex", "hours-per-week", "income")
SEPARATE = 10  # classes of Fashion-MNIST, each in a column of its own
ROWS, LINES, CHARACTERS = 6, 8, 88  # of each panel of the table and of the texts
WIDTH, MARGIN, GREY, INK = 1600, 24, "#777777", "#111111"
FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")


class Job(NamedTuple):
    """One fit: its source below the data folder, and the flags that are not defaults."""

    source: str
    flags: tuple[str, ...]


JOBS = {
    "pictures": Job("fashion-mnist", ("--family", "diffusion", "--condition", "label")),
    "rows": Job("adult.parquet", ()),
    "texts": Job("text/tinystories_sample.txt", ()),
}


def fit(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Fit a model as a user does, in a process of its own, and return what it took."""
    job, out = JOBS[name], options.work / name
    source = adult(options) if name == "rows" else options.data / job.source
    flags = [*job.flags, "--minutes", f"{options.minutes:g}"]
    if options.threads:
        flags += ["--train.threads", str(options.threads)]
    command = [sys.executable, "-m", "morphogen", "fit", str(source), *flags, "--out", str(out)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "command": " ".join(["morphogen fit", job.source, *flags]),
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "load_before": round(os.getloadavg()[0], 2),
    }


def adult(options: argparse.Namespace) -> Path:
    """Write the training part of Adult with the names of its columns, and return the file."""
    tables_data.write("adult", options.data, options.work / "adult")
    return options.work / "adult" / "train.parquet"


def judge(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the grade of a model, by items that it has not seen."""
    more: dict[str, Any] = {"target": "income"} if name == "rows" else {}
    evaluation = morphogen.evaluate(options.work / name, **more)
    figures = {key: evaluation.figure(key) for key in ("two_sample", "class_accuracy", "bits_per_dimension")}
    return {
        "grade": evaluation.grade.model_dump(mode="json"),
        "summary": evaluation.summary,
        "figures": {key: one.model_dump(mode="json") for key, one in figures.items() if one is not None},
        "all_figures": {one.name: one.value for one in evaluation.figures},
    }


def font(size: int) -> Any:
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def panels(options: argparse.Namespace) -> dict[str, tuple[Image.Image, Image.Image]]:
    """Return what is real and what is made, of each modality, as pictures of equal width."""
    return {name: maker(options) for name, maker in (("pictures", clothes), ("rows", rows), ("texts", stories))}


def clothes(options: argparse.Namespace) -> tuple[Image.Image, Image.Image]:
    """Three pictures of each class: the first of the test part, and those of seeds 0 to 29."""
    real, labels = pictures(options.data / "fashion-mnist", "test")
    first = [np.flatnonzero(labels == label)[row] for row in range(3) for label in range(SEPARATE)]
    pipe = morphogen.load(options.work / "pictures")
    classes = [str(index % SEPARATE) for index in range(3 * SEPARATE)]
    made = pipe.sample(3 * SEPARATE, seed=0, condition={"label": classes})
    return grid([Image.fromarray(real[index]) for index in first]), grid(made)


def grid(items: Sequence[Image.Image]) -> Image.Image:
    side = (WIDTH // 2 - 2 * MARGIN) // SEPARATE
    canvas = Image.new("RGB", (SEPARATE * side, len(items) // SEPARATE * side), "white")
    for index, item in enumerate(items):
        place = (index % SEPARATE * side, index // SEPARATE * side)
        canvas.paste(item.convert("RGB").resize((side - 4, side - 4), Image.Resampling.LANCZOS), place)
    return canvas


def rows(options: argparse.Namespace) -> tuple[Image.Image, Image.Image]:
    """The first rows of Adult's test part, and those of seeds 0 to 5, in some of the columns."""
    import pyarrow.parquet as parquet

    adult(options)
    real = parquet.read_table(options.work / "adult" / "test.parquet").slice(0, ROWS)
    made = morphogen.load(options.work / "rows").sample(ROWS, seed=0)
    return table(real), table(made)


def table(part: Any) -> Image.Image:
    lines = [list(COLUMNS)]
    lines += [[str(row[name] if row[name] is not None else "") for name in COLUMNS] for row in _records(part)]
    letters, height = font(14), 26
    canvas = Image.new("RGB", (WIDTH // 2 - 2 * MARGIN, len(lines) * height), "white")
    draw, left = ImageDraw.Draw(canvas), 0.0
    for column in zip(*lines, strict=True):
        for number, cell in enumerate(column):
            draw.text((left, number * height), cell[:17], fill=INK if number else GREY, font=letters)
        left += max(letters.getlength(cell[:17]) for cell in column) + 14
    return canvas


def _records(part: Any) -> list[dict[str, Any]]:
    return part.to_pylist() if hasattr(part, "to_pylist") else part.to_dict("records")


def stories(options: argparse.Namespace) -> tuple[Image.Image, Image.Image]:
    """The first story that was held out, and the one of seed 0."""
    held_out = json.loads((options.work / "texts" / "split.json").read_text())["held_out"]
    real = open_source(str(options.data / JOBS["texts"].source)).read(held_out[0])
    return passage(real), passage(morphogen.load(options.work / "texts").sample(1, seed=0)[0])


def passage(text: str) -> Image.Image:
    letters, height = font(16), 24
    canvas = Image.new("RGB", (WIDTH // 2 - 2 * MARGIN, LINES * height), "white")
    draw = ImageDraw.Draw(canvas)
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, CHARACTERS) or [""]]
    for number, line in enumerate(lines[:LINES]):
        more = " …" if number + 1 == LINES < len(lines) else ""
        draw.text((0, number * height), line + more, fill=INK, font=letters)
    return canvas


def strip(options: argparse.Namespace) -> Image.Image:
    """Return one picture: real items on the left, generated ones on the right, a modality below the other."""
    pairs = panels(options)
    heading, gap = 44, 30
    height = heading + sum(real.height + gap for real, _ in pairs.values())
    canvas = Image.new("RGB", (WIDTH, height), "white")
    draw, top = ImageDraw.Draw(canvas), heading
    for column, word in enumerate(("real, held out", f"made, after {options.minutes:g} minutes of training")):
        draw.text((column * WIDTH // 2 + MARGIN, 10), word, fill=GREY, font=font(20))
    for pair in pairs.values():
        for column, one in enumerate(pair):
            canvas.paste(one, (column * WIDTH // 2 + MARGIN, top))
        top += pair[0].height + gap
    draw.line((WIDTH // 2, 10, WIDTH // 2, height - 10), fill="#cccccc", width=2)
    return canvas


def machine(options: argparse.Namespace) -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {"processor": model, "cores": os.cpu_count(), "threads": options.threads or os.cpu_count()}


def report(results: dict[str, Any]) -> None:
    for name, one in results["runs"].items():
        print(f"\n{name}: {one['fit']}\n{one['machine']}\n{one['training']}\n{one['summary']}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--threads", type=int, help="of each fit; otherwise the fit chooses")
    parser.add_argument("--only", nargs="+", choices=sorted(JOBS), default=list(JOBS))
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "first_screen")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "first_screen.json")
    parser.add_argument("--picture", type=Path, default=HERE.parent / "docs" / "real-and-made.png")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    results = json.loads(options.results.read_text()) if options.results.exists() else {"runs": {}}
    if options.report:
        report(results)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        run = results["runs"].get(name, {})
        if not (options.work / name / "model.safetensors").exists():
            run = {"machine": machine(options), "fit": fit(name, options)}
        training = json.loads((options.work / name / "metrics.json").read_text())["training"]
        kept = ("seconds", "steps", "batch", "items", "parameters", "precision", "threads")
        run["training"] = {key: training[key] for key in kept if key in training}
        results["runs"][name] = run | judge(name, options)
        write_json(options.results, results)
    if all((options.work / name / "model.safetensors").exists() for name in JOBS):
        strip(options).quantize(64).save(options.picture, optimize=True)
    report(results)


if __name__ == "__main__":
    main()
