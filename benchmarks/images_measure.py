"""Judges what the contestants left, and prints the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contest import leave, parser, pictures, planes, prepare, write_json
from images_classifier import Judge

from morphogen.evaluation.metrics import frechet
from morphogen.evaluation.metrics.frechet import Frechet
from morphogen.evaluation.metrics.manifold import Manifold

RESAMPLES = 200
COMPARED = 2000  # pictures and samples whose nearest training picture is looked up


def figures(judge: Judge, real: torch.Tensor, samples: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    """All figures of one set of samples against the features of the real test pictures."""
    features, classes = judge.look(samples)
    found: dict[str, Any] = {}
    for metric in (Frechet(), Manifold(k=5)):
        metric.update(real, real=True)
        metric.update(features, real=False)
        found |= metric.compute()
    found["frechet_interval"] = frechet.interval(real, features, resamples=RESAMPLES)
    shares = classes.bincount(minlength=judge.classes).double() / len(classes)
    found["class_shares"] = [round(share, 4) for share in shares.tolist()]
    if labels is not None:
        found["class_accuracy"] = float((classes.numpy() == labels).mean())
    return found


def entries(work: Path) -> dict[str, Path]:
    """Name → folder of all that was sampled; a contestant with two samplers has a folder for each."""
    found = sorted(path.parent for path in [*work.glob("*/sampling.json"), *work.glob("*/*/sampling.json")])
    names = {"-".join(folder.relative_to(work).parts): folder for folder in found}
    return {name: folder for name, folder in names.items() if not name.startswith(".")}  # set aside by --again


def read(folder: Path, name: str) -> Any:
    """A contestant's JSON file, from its sampler's folder or the one above; empty where there is none."""
    for place in (folder, folder.parent):
        if (place / name).exists():
            return json.loads((place / name).read_text())
    return {}


def bounds(work: Path, data: Path) -> None:
    """Leave the ceiling (real training pictures) and the floor (uniform noise), as if they were contestants."""
    if not (work / "floor" / "sampling.json").exists():
        images = pictures(data, "train")[0]
        images = images[np.random.default_rng(0).permutation(len(images))] if len(images) < 10_000 else images[:10_000]
        leave(work / "ceiling", images, {"samples": len(images)})
        noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
        leave(work / "floor", noise, {"samples": len(images)})


def nearest(images: np.ndarray, train: np.ndarray) -> torch.Tensor:
    """Distance of the pixels of each to those of the nearest training picture, `(N,)`."""
    x = planes(train).flatten(1)
    return torch.cat([torch.cdist(batch.flatten(1), x).amin(1) for batch in planes(images).split(500)])


def measure(work: Path, data: Path) -> dict[str, Any]:
    """Figures of all entries, on as many samples as the entry with the fewest; with how each was made, and ratios."""
    bounds(work, data)
    judge = Judge(work / "judge")
    found = entries(work)
    sampled = {name: read(folder, "sampling.json") for name, folder in found.items()}
    count = min(record["samples"] for record in sampled.values())
    train, test = pictures(data, "train")[0], pictures(data, "test")[0]
    real, _ = judge.look(test)
    # All but 1 % of the test pictures lie further than this from the training picture nearest to them.
    copy = float(nearest(test[:COMPARED], train).quantile(0.01))
    results: dict[str, Any] = {}
    for name, folder in found.items():
        # Kept beside the samples, so that one more contestant does not mean judging all of them again.
        kept = read(folder, "figures.json") if (folder / "figures.json").exists() else {}
        key = [judge.name, count, COMPARED, (folder / "sampling.json").stat().st_mtime]
        if kept.get("key") != key:
            print(f"judging {name} on {count} samples …", flush=True)
            labels = np.load(folder / "labels.npy")[:count] if (folder / "labels.npy").exists() else None
            samples = np.load(folder / "samples.npy")[:count]
            kept = {"key": key, "figures": figures(judge, real, samples, labels)}
            kept["figures"]["copies"] = float((nearest(samples[:COMPARED], train) < copy).float().mean())
            write_json(folder / "figures.json", kept)
        record = {"figures": kept["figures"], "sampling": sampled[name], "training": read(folder, "training.json")}
        results[name] = record | {"terms": read(folder, "done.json")}
    return {
        "benchmark": "images",
        "data": data.name,
        "test_pictures": len(test),
        "judged_samples": count,
        "judge": {"name": judge.name, **judge.record},
        "extractor": f"FD[{judge.name}]",
        "entries": results,
        "ratios": ratios({name: entry["figures"]["frechet"] for name, entry in results.items()}),
    }


def ratios(distances: dict[str, float]) -> dict[str, dict[str, float]]:
    """Our distances over each peer's, its best one where it has several samplers; below 1 is better than the peer."""
    peers = {}
    for peer in ("diffusers", "pythae"):
        own = [value for name, value in distances.items() if name.split("-")[0] == peer]
        if own:
            peers[peer] = min(own)
    ours = {name: value for name, value in distances.items() if name.startswith("ours-")}
    return {name: {peer: value / best for peer, best in peers.items()} for name, value in ours.items()}


def table(results: dict[str, Any]) -> str:
    """The results as Markdown, best distance first."""
    columns = [results["extractor"], "95 %", "precision", "recall", "density", "coverage", "copies", "class accuracy"]
    columns += ["training images/s", "parameters", "precision of numbers", "sampling images/s", "evaluations"]
    columns += ["bound, bits/dim", "peak MiB", "÷ diffusers", "÷ pythae"]
    lines = ["| |" + "|".join(columns) + "|", "|---|" + "---|" * len(columns)]
    for name, entry in sorted(results["entries"].items(), key=lambda item: item[1]["figures"]["frechet"]):
        f, made, drawn, ratio = entry["figures"], entry["training"], entry["sampling"], results["ratios"].get(name, {})
        cells = [show(f["frechet"]), " – ".join(show(end) for end in f["frechet_interval"])]
        cells += [show(f[key], ".3f") for key in ("precision", "recall", "density", "coverage", "copies")]
        cells += [show(f.get("class_accuracy"), ".3f"), show(made.get("images_per_second"), ".0f")]
        cells += [show(made.get("parameters"), ",d"), str(made.get("precision", "")) or "–"]
        cells += [show(drawn.get("images_per_second"), ".0f"), show(drawn.get("evaluations"), "d")]
        cells += [show(drawn.get("bound", {}).get("bits_per_dimension"), ".3f")]
        cells += [show(made.get("peak_memory_mib"), ".0f"), show(ratio.get("diffusers")), show(ratio.get("pythae"))]
        lines.append(f"|{name}|" + "|".join(cells) + "|")
    judge = results["judge"]
    lines += [
        "",
        "bound: the importance-weighted bound (64 draws) of the first 1,000 test pictures (or all there are), given "
        "their class where the model is conditional. evaluations: of the network for one sample.",
    ]
    lines += [
        "",
        f"{results['judged_samples']:,} samples each against the {results['test_pictures']:,} test pictures; precision "
        "to coverage with k = 5. copies: the share of samples that lie nearer to a training picture, pixel by pixel, "
        "than 99 % of the test pictures do (.01 is what those get; the ceiling is made of training pictures).",
    ]
    lines += [f"The judge {judge['name']} names {judge['test_accuracy']:.4f} of the real test pictures rightly."]
    lines += ["", "The machine before each (GFLOP/s):", ""]
    for name, entry in results["entries"].items():
        if probe := entry["terms"].get("probe"):
            lines.append(
                f"- {name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.0f}" for key, value in probe.items())
            )
    return "\n".join(lines)


def show(value: float | None, pattern: str = ".3g") -> str:
    return "–" if value is None else format(value, pattern)


def main() -> None:
    found = parser()
    found.add_argument("--work", type=Path, required=True)
    arguments = found.parse_args()
    prepare(arguments.threads, arguments.seed)
    write_json(arguments.out, measure(arguments.work, arguments.data))


if __name__ == "__main__":
    main()
