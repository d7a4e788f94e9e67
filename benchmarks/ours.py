"""Ours, as a user runs it: the command line fits within the minutes, the Python interface samples."""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from contest import parser, peak_memory, pictures, prepare, sample, write_json, write_samples
from PIL import Image

if TYPE_CHECKING:
    from morphogen import Pipeline

CLASSES = 10
BOUND_PICTURES = 1000  # test pictures whose likelihood is bounded


def arguments() -> argparse.Namespace:
    flags = parser()
    flags.add_argument("--family", required=True)
    flags.add_argument("--conditional", action="store_true")
    flags.add_argument(
        "--autoencoder", help="a family to fit first, for half of the minutes, whose latents are modelled"
    )
    flags.add_argument("--fit-seed", type=int, default=0)
    flags.add_argument("--control", action="append", default=[], metavar="NAME=VALUE", help="a Control, JSON value")
    return flags.parse_args()


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(options.threads, options.seed)
    if not (options.out / "training.json").exists():  # a finished training is not repeated when only sampling failed
        write_json(options.out / "training.json", train(options))

    import morphogen

    pipe = morphogen.load(options.out / "model")
    controls = {name: json.loads(value) for name, value in (text.split("=", 1) for text in options.control)}
    mode = "L" if pictures(options.data, "test")[0].ndim == 3 else "RGB"
    labels = np.arange(options.samples) % CLASSES  # the first n are balanced for every multiple n of ten

    def draw(first: int, count: int) -> np.ndarray:
        keywords = dict(controls)
        if options.conditional:
            keywords["condition"] = {"label": [str(label) for label in labels[first : first + count]]}
        items = pipe.sample(count, seed=first, batch=count, **keywords)
        return np.stack([np.asarray(item.convert(mode)) for item in items])

    calls: list[None] = []
    if options.family == "diffusion":
        counter = pipe.model.network.register_forward_hook(lambda *_: calls.append(None))
        draw(0, 1)
        counter.remove()
    samples, record = sample(draw, options.samples, 250)
    record |= {"controls": controls, "evaluations": len(calls) or None}
    if options.autoencoder:
        autoencoder = morphogen.load(options.out / "autoencoder").model
        record["codes_used"] = getattr(autoencoder, "codes_used", None)
    if options.family == "vae":
        record["bound"] = bound(pipe, options.data, options.conditional)
    write_samples(options.out, samples, record, labels[: len(samples)] if options.conditional else None)


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Fit the model, and before it the autoencoder if there is one; return the record of the training."""
    model, autoencoder = options.out / "model", options.out / "autoencoder"
    minutes = options.minutes / 2 if options.autoencoder else options.minutes
    start = time.perf_counter()
    if options.autoencoder:
        # Its own prior would take half of the minutes, and is not used.
        flags = ["--options.prior", "normal"] if options.autoencoder == "vae" else []
        fit(autoencoder, options.data, options.autoencoder, minutes, flags)
    flags = ["--condition", "label"] if options.conditional else []
    flags += ["--autoencoder", str(autoencoder)] if options.autoencoder else []
    flags += ["--train.seed", str(options.fit_seed)] if options.fit_seed else []
    fit(model, options.data, options.family, minutes, flags)
    command_seconds = time.perf_counter() - start
    training = json.loads((model / "metrics.json").read_text())["training"]
    return {
        **training,
        "images_per_second": training["items_per_second"],
        "command_seconds": command_seconds,
        "peak_memory_mib": peak_memory(resource.RUSAGE_CHILDREN),
        "options": json.loads((model / "config.json").read_text())["options"],
    }


def fit(out: Path, data: Path, family: str, minutes: float, flags: list[str]) -> None:
    """Run `morphogen fit`; a fit that was stopped continues, a finished one is not repeated."""
    if (out / "metrics.json").exists():
        return
    command = [str(Path(sys.executable).with_name("morphogen")), "fit"]
    if (out / "training" / "probed.json").exists():
        command += ["--resume", "--out", str(out)]
    else:
        command += [str(data), "--family", family, "--minutes", str(minutes), "--out", str(out), *flags]
    subprocess.run(command, check=True)


def bound(pipe: Pipeline, data: Path, conditional: bool) -> dict[str, Any]:
    """Return the importance-weighted bound on the likelihood of the first thousand test pictures."""
    from morphogen.likelihood import log_likelihood

    images, labels = (part[:BOUND_PICTURES] for part in pictures(data, "test"))
    nats = []
    for start in range(0, len(images), 100):
        items = [Image.fromarray(image) for image in images[start : start + 100]]
        condition = {"label": [str(label) for label in labels[start : start + 100]]} if conditional else None
        nats.append(log_likelihood(pipe, items, condition=condition, seed=start))
    mean = float(torch.cat(nats).mean())
    return {
        "nats": mean,
        "bits_per_dimension": -mean / images[0].size / math.log(2),
        "draws": 64,
        "pictures": len(images),
    }


if __name__ == "__main__":
    main()
