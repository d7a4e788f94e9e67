"""Is the size that the probe chooses the best one? Networks of a ladder of sizes, trained for the same seconds.

Run: python benchmarks/sizes.py                        all sets, two minutes for each network
     python benchmarks/sizes.py --sets names --seconds 600
     python benchmarks/sizes.py --report               the table of the last results

Each network has the seconds in processor time of one thread: the steps that fit in are measured in turns on all sizes
before any is trained, so that other programs do not change the result. From the size that the rule of the probe
chooses, the ladder is climbed and descended until the figure gets worse. With `--peer`, diffusers' U-Net has the same
seconds on each set of pictures. The figure of pictures is FD[contrastive] of
1,000 samples against pictures that were not trained on, in features trained on the set, that of texts the validation
loss in nats a token. Regret: the figure of the chosen size over the best one of the ladder. Finished runs are not
repeated.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sizes_data
import torch
from contest import DATA, process_variables, write_json
from peers import environment
from PIL import Image

import morphogen
from morphogen.core import plugins
from morphogen.core.codec import Codec
from morphogen.core.modality import modality
from morphogen.core.model import Batch, GenerativeModel
from morphogen.metrics.frechet import Frechet
from morphogen.metrics.manifold import Manifold
from morphogen.modalities.image.features import fit_extractor
from morphogen.training.options import TrainOptions
from morphogen.training.probe import build_model, needed_items, share_of_items
from morphogen.training.speed import Speed, Stopwatch, load_compiler

HERE = Path(__file__).resolve().parent
FAMILY = {"image": "diffusion", "text": "autoregressive"}
SAMPLES = 1000
JUDGED = 5000  # held-out pictures at most
EXTRACTOR_STEPS = 400
PATIENCE = 1  # sizes beyond the best one that are tried in each direction


@dataclass
class Size:
    """A network of the ladder, and how it is trained in the seconds."""

    options: dict[str, Any]
    parameters: int
    speed: Speed
    precision: str
    batch: int
    steps: int
    items: int  # that it reads
    enough: bool  # whether the rule of the probe takes it for worth its size


def measured(kind: str, codec: Codec[Any], x: torch.Tensor, count: int, seconds: float) -> list[Size]:
    """Return all sizes of the ladder that read a thousand of the `count` items in the seconds, smallest first.

    `x` are some encoded items.
    """
    space = type(codec.space)
    entry, model_type = plugins.entry_for(FAMILY[kind], space), plugins.model_for(FAMILY[kind], space)
    build = build_model(model_type, codec.space, {}, 0)
    load_compiler()
    sizes: list[Size] = []
    for change in entry.sizes:
        options = model_type.resolve_options(entry.Options(**change), codec.space, count)
        model: GenerativeModel = build(options)
        model.train()
        at_once = 64 if kind == "image" else max(4, 2048 // codec.space.positions)
        batch = Batch(x[torch.arange(at_once) % len(x)])
        speeds = {
            precision: Stopwatch(model, precision, TrainOptions()).speeds(batch, (1,), time.perf_counter() + 20)[1]
            for precision in ("fp32", "bf16")
        }
        precision = max(speeds, key=lambda name: speeds[name].load * speeds[name].rate(at_once, 1))
        speed = speeds[precision]
        size = speed.batch(seconds, count, 1)
        rate = speed.load * speed.rate(size, 1)
        items = round(rate * seconds)
        if items < 1000 and sizes:
            break
        needed = needed_items(model.space, seconds, count) * share_of_items(model)
        parameters, enough = model.parameter_count, rate * seconds >= max(needed, speed.min_steps * size)
        enough = enough and parameters * model.min_tokens_per_parameter <= count * codec.space.positions
        sizes.append(Size(dict(change), parameters, speed, precision, size, max(1, items // size), items, enough))
        print(f"    {change}: {parameters:,} parameters, {rate:,.0f} items/s, batch {size}", flush=True)
    return sizes


def fit(kind: str, source: Any, size: Size, out: Path, seed: int) -> morphogen.Pipeline:
    """Train a network for its steps, unless it is there already."""
    if (out / "config.json").exists():
        return morphogen.load(out)
    train = {"steps": size.steps, "batch": size.batch, "precision": size.precision, "threads": 1, "seed": seed}
    train["previews"] = 0
    return morphogen.fit(
        source, modality=kind, family=FAMILY[kind], out=out, options=size.options, train=train, say=None
    )


def judge_pictures(samples: list[Any], extractor: Any, held_out: list[Any]) -> dict[str, float]:
    """Return distance, precision, recall, density and coverage of samples; the `figure` is the distance."""
    real, made = extractor.features(held_out), extractor.features(samples)
    figures: dict[str, float] = {}
    for metric in (Frechet(), Manifold(k=5)):
        metric.update(real, real=True)
        metric.update(made, real=False)
        figures |= metric.compute()
    return {name: round(float(value), 4) for name, value in figures.items()} | {"figure": float(figures["frechet"])}


def held_out_loss(pipe: morphogen.Pipeline, held_out: list[Any]) -> float:
    """Return the training loss on pictures that were not trained on."""
    torch.manual_seed(0)
    with torch.no_grad():
        parts = pipe.codec.encode(held_out[:2000]).split(250)
        return sum(float(pipe.model(Batch(part)).total) * len(part) for part in parts) / sum(map(len, parts))


def peer(train: np.ndarray, work: Path, seconds: float) -> dict[str, list[Any]]:
    """Return the samples of diffusers' U-Net after the same seconds in processor time, by the name of its sampler."""
    python, _ = environment.make("diffusers")
    data, out = work / "data", work / "diffusers"
    data.mkdir(parents=True, exist_ok=True)
    np.save(data / "train.npy", train)
    script = HERE / "peers" / "diffusers_unet.py"
    flags = ["--minutes", f"{seconds / 60:g}", "--samples", str(SAMPLES), "--threads", "1", "--processor-time"]
    command = [python, script, "--data", data, "--out", out, *flags]
    subprocess.run(command, check=True, env=process_variables(1), stdout=subprocess.DEVNULL)
    return {file.parent.name: [Image.fromarray(image) for image in np.load(file)] for file in out.glob("*/samples.npy")}


def climb(sizes: list[Size], chosen: int, figure: Any) -> dict[int, dict[str, float]]:
    """Return the figures by place in the ladder: on both sides of the best one, one that is worse."""
    results = {chosen: figure(chosen)}
    while True:
        best = min(results, key=lambda place: results[place]["figure"])
        around = range(max(0, best - PATIENCE), min(len(sizes), best + PATIENCE + 1))
        missing = [place for place in around if place not in results]
        if not missing:
            return results
        for place in missing:
            results[place] = figure(place)


def measure(name: str, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the ladder of a set."""
    work = options.work / f"{name}-{options.seconds:g}"
    own = modality(kind)
    if kind == "image":
        images, judged = sizes_data.PICTURES[name](options.data, options.work)
        train, held_out = [Image.fromarray(image) for image in images], [Image.fromarray(image) for image in judged]
        codec = own.fit([train[:4000]], own.spaces[0], own.Options())
        x, count = codec.encode(train[:2000]), len(train)
        extractor = fit_extractor([train[:20_000]], None, codec=codec, seed=0, steps=EXTRACTOR_STEPS)
        held_out = held_out[:JUDGED]
        source: Any = train
    else:
        source = str(options.data / "text" / sizes_data.TEXTS[name])
        train_options = {"steps": 1, "threads": 1}
        small = morphogen.fit(source, modality=kind, family=FAMILY[kind], train=train_options, say=None)
        codec, count = small.codec, small.metrics["training"]["items"]
        x = torch.randint(codec.space.vocab, (64, codec.space.positions))
    print(f"{name}:", flush=True)
    sizes = measured(kind, codec, x, count, options.seconds)
    chosen = max([place for place, size in enumerate(sizes) if all(s.enough for s in sizes[: place + 1])], default=0)

    def figure(place: int) -> dict[str, float]:
        size = sizes[place]
        pipe = fit(kind, source, size, work / "-".join(map(str, size.options.values())), options.seed)
        if kind == "image":
            figures = judge_pictures(pipe.sample(SAMPLES, seed=1), extractor, held_out)
            figures["held_out_loss"] = held_out_loss(pipe, held_out)
        else:
            figures = {"figure": pipe.metrics["training"]["validation_loss"]}
        print(f"    {size.options}: {figures}", flush=True)
        return figures

    results = climb(sizes, chosen, figure)
    best = min(value["figure"] for value in results.values())
    peers: dict[str, dict[str, float]] = {}
    if kind == "image" and options.peer:
        made = peer(images, work, options.seconds)
        peers = {sampler: judge_pictures(samples, extractor, held_out) for sampler, samples in made.items()}
        print(f"    diffusers: {peers}", flush=True)
    return {
        "kind": kind,
        "seconds": options.seconds,
        "items": count,
        "chosen": sizes[chosen].options,
        "regret": results[chosen]["figure"] / best - 1 if kind == "image" else results[chosen]["figure"] - best,
        "diffusers": peers,
        "ladder": [
            {
                **sizes[place].options,
                "parameters": sizes[place].parameters,
                "trained_in": sizes[place].precision,
                "batch": sizes[place].batch,
                "steps": sizes[place].steps,
                "items_read": sizes[place].items,
                **results[place],
            }
            for place in sorted(results)
        ],
    }


def report(results: dict[str, Any]) -> str:
    """Return a table of the results."""
    lines = ["set | ladder (size: items read, figure) | chosen | regret | diffusers", "--- | --- | --- | --- | ---"]
    for name, entry in results["sets"].items():
        ladder = ", ".join(f"{one['width']}: {one['items_read']:,}, {one['figure']:.3g}" for one in entry["ladder"])
        regret = f"{entry['regret']:.0%}" if entry["kind"] == "image" else f"{entry['regret']:.3f} nats"
        best = min((one["figure"] for one in entry["diffusers"].values()), default=None)
        peers = "" if best is None else f"{best:.3g}"
        lines.append(f"{name} | {ladder} | {entry['chosen']['width']} | {regret} | {peers}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = dict.fromkeys(sizes_data.PICTURES, "image") | dict.fromkeys(sizes_data.TEXTS, "text")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "sizes")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "sizes.json")
    parser.add_argument("--sets", nargs="+", choices=list(kinds), default=list(kinds))
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", action="store_true", help="train diffusers on the pictures, too")
    parser.add_argument("--report", action="store_true", help="print the table of the last results")
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results.exists() else {"sets": {}}
    if not options.report:
        torch.set_num_threads(1)
        options.work.mkdir(parents=True, exist_ok=True)
        for name in options.sets:
            results["sets"][f"{name}, {options.seconds:g} s"] = measure(name, kinds[name], options)
            results |= {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
            write_json(options.results, results)
    print(report(results))


if __name__ == "__main__":
    main()
