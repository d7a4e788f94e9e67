"""Ours, as a user runs it: the command line fits within the minutes, the Python front door samples."""

from __future__ import annotations

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
from contest import leave, parser, peak_memory, pictures, prepare, sample, write_json
from PIL import Image

if TYPE_CHECKING:
    from morphogen import Pipeline

CLASSES = 10
BOUNDED = 1000  # test pictures whose likelihood is bounded


def main() -> None:
    found = parser()
    found.add_argument("--family", required=True)
    found.add_argument("--conditional", action="store_true")
    found.add_argument("--through", help="a family to fit first, for half of the minutes, and to go through")
    found.add_argument("--fit-seed", type=int, default=0)
    found.add_argument("--control", action="append", default=[], metavar="NAME=VALUE", help="a Control, JSON value")
    arguments = found.parse_args()
    out, model = arguments.out, arguments.out / "model"
    out.mkdir(parents=True, exist_ok=True)
    prepare(arguments.threads, arguments.seed)

    if not (out / "training.json").exists():  # a finished training is not done again when only sampling failed
        minutes = arguments.minutes / 2 if arguments.through else arguments.minutes
        start = time.perf_counter()
        if arguments.through:
            # A prior of its own would take half of the minutes, and the model in front is one.
            alone = ["--options.prior", "normal"] if arguments.through == "vae" else []
            fit(out / "through", arguments.data, arguments.through, minutes, alone)
        flags = ["--condition", "label"] if arguments.conditional else []
        flags += ["--through", str(out / "through")] if arguments.through else []
        flags += ["--train.seed", str(arguments.fit_seed)] if arguments.fit_seed else []
        fit(model, arguments.data, arguments.family, minutes, flags)
        command_seconds = time.perf_counter() - start
        training = json.loads((model / "metrics.json").read_text())["training"]
        record = {
            **training,
            "images_per_second": training["items_per_second"],
            "command_seconds": command_seconds,
            "peak_memory_mib": peak_memory(resource.RUSAGE_CHILDREN),
        }
        record["options"] = json.loads((model / "config.json").read_text()).get("options")
        write_json(out / "training.json", record)

    import morphogen

    pipe = morphogen.load(model)
    controls = {name: json.loads(value) for name, value in (text.split("=", 1) for text in arguments.control)}
    mode = "L" if pictures(arguments.data, "test")[0].ndim == 3 else "RGB"
    labels = np.arange(arguments.samples) % CLASSES  # any multiple of ten from the start on is balanced

    def draw(first: int, count: int) -> np.ndarray:
        asked = dict(controls)
        if arguments.conditional:
            asked["condition"] = {"label": [str(label) for label in labels[first : first + count]]}
        return np.stack(
            [np.asarray(picture.convert(mode)) for picture in pipe.sample(count, seed=first, batch=count, **asked)]
        )

    calls: list[None] = []
    if arguments.family == "diffusion":
        counter = pipe.model.network.register_forward_hook(lambda *_: calls.append(None))
        draw(0, 1)
        counter.remove()
    samples, record = sample(draw, arguments.samples, 250)
    record |= {"controls": controls, "evaluations": len(calls) or None}
    if arguments.through:
        inner = morphogen.load(out / "through").model
        record["codes_used"] = getattr(inner, "codes_used", None)
    if arguments.family == "vae":
        record["bound"] = bound(pipe, arguments.data, arguments.conditional)
    leave(out, samples, record, labels[: len(samples)] if arguments.conditional else None)


def fit(out: Path, data: Path, family: str, minutes: float, flags: list[str]) -> None:
    """`morphogen fit`; a race that was stopped goes on."""
    if (out / "metrics.json").exists():
        return
    command = [str(Path(sys.executable).with_name("morphogen")), "fit"]
    if (out / "training" / "settings.json").exists():
        command += ["--resume", "--out", str(out)]
    else:
        command += [str(data), "--family", family, "--minutes", str(minutes), "--out", str(out), *flags]
    subprocess.run(command, check=True)


def bound(pipe: Pipeline, data: Path, conditional: bool) -> dict[str, Any]:
    """The importance-weighted bound on the first thousand test pictures."""
    images, labels = (part[:BOUNDED] for part in pictures(data, "test"))
    nats = []
    for start in range(0, len(images), 100):
        items = [Image.fromarray(image) for image in images[start : start + 100]]
        condition = {"label": [str(label) for label in labels[start : start + 100]]} if conditional else None
        nats.append(pipe.log_likelihood(items, condition=condition, seed=start))
    mean = float(torch.cat(nats).mean())
    return {
        "nats": mean,
        "bits_per_dimension": -mean / images[0].size / math.log(2),
        "draws": 64,
        "pictures": len(images),
    }


if __name__ == "__main__":
    main()
