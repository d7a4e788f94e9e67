"""Judges the samples of all contestants, and formats the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contest import parser, pictures, planes, prepare, write_json, write_samples
from images_classifier import Judge

from morphogen.metrics import frechet
from morphogen.metrics.frechet import Frechet
from morphogen.metrics.manifold import Manifold

RESAMPLES = 200
REAL, NOISE = "real data", "noise"  # entries that are no contestants
COMPARED = 2000  # pictures, and samples, whose distance to the nearest training picture is measured


def figures(judge: Judge, real: torch.Tensor, samples: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    """Return all figures of a set of samples, compared with the features of the real test pictures."""
    features, classes = judge.predict(samples)
    results: dict[str, Any] = {}
    for metric in (Frechet(), Manifold(k=5)):
        metric.update(real, real=True)
        metric.update(features, real=False)
        results |= metric.compute()
    results["frechet_interval"] = frechet.interval(real, features, resamples=RESAMPLES)
    shares = classes.bincount(minlength=judge.classes).double() / len(classes)
    results["class_shares"] = [round(share, 4) for share in shares.tolist()]
    if labels is not None:
        results["class_accuracy"] = float((classes.numpy() == labels).mean())
    return results


def entries(work: Path) -> dict[str, Path]:
    """Return the folder of each entry by name; a contestant with two samplers has an entry for each."""
    folders = sorted(path.parent for path in [*work.glob("*/sampling.json"), *work.glob("*/*/sampling.json")])
    names = {"-".join(folder.relative_to(work).parts): folder for folder in folders}
    return {name: folder for name, folder in names.items() if not name.startswith(".")}  # set aside by --again


def read(folder: Path, name: str) -> Any:
    """Return a contestant's JSON file, from its sampler's folder or the one above; {} if there is none."""
    for file in (folder / name, folder.parent / name):
        if file.exists():
            return json.loads(file.read_text())
    return {}


def references(work: Path, data: Path) -> None:
    """Write real training pictures and uniform noise as if they were contestants."""
    if not (work / NOISE / "sampling.json").exists():
        images = pictures(data, "train")[0]
        images = images[np.random.default_rng(0).permutation(len(images))] if len(images) < 10_000 else images[:10_000]
        write_samples(work / REAL, images, {"samples": len(images)})
        noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
        write_samples(work / NOISE, noise, {"samples": len(images)})


def nearest(images: np.ndarray, train: np.ndarray) -> torch.Tensor:
    """Return the distance of each picture to the nearest training picture, pixel by pixel, `(N,)`."""
    x = planes(train).flatten(1)
    return torch.cat([torch.cdist(batch.flatten(1), x).amin(1) for batch in planes(images).split(500)])


def measure(work: Path, data: Path) -> dict[str, Any]:
    """Return the figures, records and ratios of all entries, on as many samples as the entry with the fewest has."""
    references(work, data)
    judge = Judge(work / "judge")
    folders = entries(work)
    sampling = {name: read(folder, "sampling.json") for name, folder in folders.items()}
    count = min(record["samples"] for record in sampling.values())
    train, test = pictures(data, "train")[0], pictures(data, "test")[0]
    real, _ = judge.predict(test)
    # 99 % of the test pictures are further than this from the training picture nearest to them.
    copy = float(nearest(test[:COMPARED], train).quantile(0.01))
    results: dict[str, Any] = {}
    for name, folder in folders.items():
        # Written beside the samples, so that a new contestant does not mean judging all of them again.
        cached = read(folder, "figures.json") if (folder / "figures.json").exists() else {}
        key = [judge.name, count, COMPARED, (folder / "sampling.json").stat().st_mtime]
        if cached.get("key") != key:
            print(f"judging {name} on {count} samples …", flush=True)
            labels = np.load(folder / "labels.npy")[:count] if (folder / "labels.npy").exists() else None
            samples = np.load(folder / "samples.npy")[:count]
            cached = {"key": key, "figures": figures(judge, real, samples, labels)}
            cached["figures"]["copies"] = float((nearest(samples[:COMPARED], train) < copy).float().mean())
            write_json(folder / "figures.json", cached)
        record = {"figures": cached["figures"], "sampling": sampling[name], "training": read(folder, "training.json")}
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
    """Return our distances over each peer's with its better sampler; below 1 is better than the peer."""
    peers = {}
    for peer in ("diffusers", "pythae"):
        values = [value for name, value in distances.items() if name.split("-")[0] == peer]
        if values:
            peers[peer] = min(values)
    ours = {name: value for name, value in distances.items() if name.startswith("ours-")}
    return {name: {peer: value / best for peer, best in peers.items()} for name, value in ours.items()}


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown, best distance first."""
    columns = [results["extractor"], "95 %", "precision", "recall", "density", "coverage", "copies", "class accuracy"]
    columns += ["training images/s", "parameters", "precision of numbers", "sampling images/s", "evaluations"]
    columns += ["bound, bits/dim", "peak MiB", "÷ diffusers", "÷ pythae"]
    lines = ["| |" + "|".join(columns) + "|", "|---|" + "---|" * len(columns)]
    for name, entry in sorted(results["entries"].items(), key=lambda item: item[1]["figures"]["frechet"]):
        f, training, sampling = entry["figures"], entry["training"], entry["sampling"]
        ratio = results["ratios"].get(name, {})
        cells = [show(f["frechet"]), " – ".join(show(end) for end in f["frechet_interval"])]
        cells += [show(f[key], ".3f") for key in ("precision", "recall", "density", "coverage", "copies")]
        cells += [show(f.get("class_accuracy"), ".3f"), show(training.get("images_per_second"), ".0f")]
        cells += [show(training.get("parameters"), ",d"), str(training.get("precision", "")) or "–"]
        cells += [show(sampling.get("images_per_second"), ".0f"), show(sampling.get("evaluations"), "d")]
        cells += [show(sampling.get("bound", {}).get("bits_per_dimension"), ".3f")]
        cells += [show(training.get("peak_memory_mib"), ".0f"), show(ratio.get("diffusers")), show(ratio.get("pythae"))]
        lines.append(f"|{name}|" + "|".join(cells) + "|")
    judge = results["judge"]
    lines += [
        "",
        "bound: the importance-weighted bound (64 latents) of the first 1,000 test pictures, or of all, under "
        "their class if the model is conditional. evaluations: of the network for one sample.",
    ]
    lines += [
        "",
        f"{results['judged_samples']:,} samples each against the {results['test_pictures']:,} test pictures; precision "
        "to coverage with k = 5. copies: the share of samples that are nearer to a training picture, pixel by pixel, "
        f"than 99 % of the test pictures are (test pictures have .01; '{REAL}' are training pictures).",
    ]
    lines += [f"The accuracy of the judge {judge['name']} on the real test pictures is {judge['test_accuracy']:.4f}."]
    lines += ["", "Speed of the machine before each contestant (GFLOP/s):", ""]
    for name, entry in results["entries"].items():
        if probe := entry["terms"].get("probe"):
            lines.append(
                f"- {name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.0f}" for key, value in probe.items())
            )
    return "\n".join(lines)


def show(value: float | None, pattern: str = ".3g") -> str:
    return "–" if value is None else format(value, pattern)


def main() -> None:
    flags = parser()
    flags.add_argument("--work", type=Path, required=True)
    arguments = flags.parse_args()
    prepare(arguments.threads, arguments.seed)
    write_json(arguments.out, measure(arguments.work, arguments.data))


if __name__ == "__main__":
    main()
