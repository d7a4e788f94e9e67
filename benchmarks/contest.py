"""What all contestants share: threads, data, the clock, and the files of a result.

Runs in the peers' own environments, so it needs numpy, torch and Pillow only.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("MORPHOGEN_DATA", HERE.parent.parent / "shared" / "data"))  # the folder of all data sets
# Seconds that sampling may take; a slower contestant samples half as many, and then all are judged on that number.
MAX_SAMPLING_SECONDS = 480


def parser() -> argparse.ArgumentParser:
    """Return a parser of the flags that every contestant takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the four idx.gz files, or of train and test with PNG files"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processor-time", action="store_true", help="count the minutes of training on the processor, beside others"
    )
    return parser


def prepare(threads: int, seed: int) -> None:
    """Set the number of threads and the seed, and flush denormal numbers to zero, which slow down long CPU runs."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    np.random.seed(seed)  # pythae's mixture reads the global state


def process_variables(threads: int) -> dict[str, str]:
    """Return the environment of a process that imports these files and computes with that many threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return os.environ | {"PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1"} | dict.fromkeys(names, str(threads))


def probe(threads: int) -> dict[str, float]:
    """Return the present speed of the machine; see probe.py."""
    command = [sys.executable, str(HERE / "probe.py"), str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def pictures(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of the split `train` or `test`, uint8 `(N, H, W)` or `(N, H, W, 3)`, and labels `(N,)`.

    `data` holds the four idx files of Fashion-MNIST, PNG files in `split/label/` as `emoji64.py` writes them, or
    pictures without labels in `split.npy`.
    """
    if (data / f"{split}.npy").exists():
        images = np.load(data / f"{split}.npy")
        return images, np.zeros(len(images), np.int64)
    if (data / split).is_dir():
        files = sorted((data / split).glob("*/*.png"))
        classes = sorted({file.parent.name for file in (data / "train").glob("*/*.png")})
        labels = np.array([classes.index(file.parent.name) for file in files], dtype=np.int64)
        return np.stack([np.asarray(Image.open(file)) for file in files]), labels
    name = "t10k" if split == "test" else split
    with gzip.open(data / f"{name}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(data / f"{name}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return images, labels


def planes(images: np.ndarray) -> Tensor:
    """Return pictures as `pictures` returns them as `(N, C, H, W)` in [0, 1]."""
    x = torch.from_numpy(np.array(images)).float() / 255
    return x[:, None] if x.dim() == 3 else x.movedim(-1, 1)


@dataclass(frozen=True)
class Mode:
    """The number format and memory layout in which a network runs."""

    bfloat16: bool
    channels_last: bool

    def __str__(self) -> str:
        return ("bfloat16" if self.bfloat16 else "float32") + (" channels-last" if self.channels_last else "")

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16)


MODES = [Mode(bfloat16, channels_last) for bfloat16 in (False, True) for channels_last in (False, True)]


def fastest(
    model: nn.Module, loss: Callable[[nn.Module, Tensor], Tensor], batch: Tensor
) -> tuple[Mode, dict[str, float]]:
    """Return the mode that trains fastest on this machine, and images/s of each; on copies, outside the budget."""
    rates = {}
    for mode in MODES:
        trial = copy.deepcopy(model).to(memory_format=mode.layout)
        x, seconds = batch.contiguous(memory_format=mode.layout), []
        for _ in range(5):
            start = time.perf_counter()
            with mode.autocast():
                value = loss(trial, x)
            value.backward()
            seconds.append(time.perf_counter() - start)
        rates[str(mode)] = round(len(batch) / min(seconds[1:]), 1)
    return max(MODES, key=lambda mode: rates[str(mode)]), rates


def epochs(images: Tensor, batch: int, seed: int) -> Iterator[Tensor]:
    """Yield batches without end, in a new order in each epoch."""
    random = torch.Generator().manual_seed(seed)
    while True:
        for index in torch.randperm(len(images), generator=random).split(batch):
            if len(index) == batch:
                yield images[index]


def train(
    step: Callable[[Tensor, float], Tensor],
    batches: Iterator[Tensor],
    minutes: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Call `step(batch, share of the budget spent)` until the time is over; return counts and rates.

    The clock starts at the first step.
    """
    images = steps = 0
    start, shown = clock(), time.perf_counter()
    while (elapsed := clock() - start) < minutes * 60:
        batch = next(batches)
        loss = step(batch, elapsed / (minutes * 60))
        images, steps = images + len(batch), steps + 1
        if time.perf_counter() - shown > 15:
            shown = time.perf_counter()
            print(
                f"{elapsed:6.0f} s  step {steps}  loss {loss.item():.4f}  {images / elapsed:.1f} images/s", flush=True
            )
    seconds = clock() - start
    return {"seconds": seconds, "steps": steps, "images": images, "images_per_second": images / seconds}


def sample(draw: Callable[[int, int], np.ndarray], count: int, batch: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return `count` uint8 pictures of `draw(first, number)` in batches, and the rate; half as many if it is slow."""
    parts: list[np.ndarray] = []
    start, finished, target = time.perf_counter(), 0, count
    while finished < target:
        parts.append(draw(finished, min(batch, target - finished)))
        finished += len(parts[-1])
        seconds = time.perf_counter() - start
        if len(parts) == 2 and seconds / finished * count > MAX_SAMPLING_SECONDS:
            target = count // 2
    print(f"sampled {finished} in {seconds:.1f} s", flush=True)
    return np.concatenate(parts), {"samples": finished, "seconds": seconds, "images_per_second": finished / seconds}


def plain(rates: dict[str, float]) -> Mode:
    """Return the faster layout in float32, so that quality does not suffer from a number format."""
    return max((mode for mode in MODES if not mode.bfloat16), key=lambda mode: rates[str(mode)])


def to_bytes(x: Tensor, low: float, high: float) -> np.ndarray:
    """Return `(B, C, H, W)` in [low, high] as `pictures` returns them, rounded to the nearest."""
    x = ((x.detach().float() - low) / (high - low) * 255).round().clamp(0, 255).byte()
    return (x.squeeze(1) if x.shape[1] == 1 else x.movedim(1, -1)).numpy()


def peak_memory(who: int = resource.RUSAGE_SELF) -> float:
    """Return the largest resident set so far in MiB (Linux counts it in KiB)."""
    return resource.getrusage(who).ru_maxrss / 1024


def write_json(path: Path, data: Any) -> None:
    """Write the file atomically."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(data, indent=2) + "\n")
    os.replace(temporary, path)


def write_samples(out: Path, samples: np.ndarray, record: dict[str, Any], labels: np.ndarray | None = None) -> None:
    """Write samples.npy, labels.npy if there are labels, a sheet of the first hundred, and sampling.json last."""
    out.mkdir(parents=True, exist_ok=True)
    if labels is not None:
        np.save(out / "labels.npy", labels)
    sheet(samples, out / "sheet.png")
    np.save(out / "samples.npy", samples)
    write_json(out / "sampling.json", record)


def sheet(samples: np.ndarray, path: Path) -> None:
    """Write the first hundred as a 10 x 10 sheet, with a black pixel around each; small ones at twice their size."""
    height, width, *colours = samples.shape[1:]
    tiles = np.zeros((100, height + 2, width + 2, *colours), np.uint8)
    tiles[: len(samples[:100]), 1:-1, 1:-1] = samples[:100]
    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in tiles.reshape(10, 10, *tiles.shape[1:])])
    factor = 2 if width < 50 else 1
    size = (grid.shape[1] * factor, grid.shape[0] * factor)
    Image.fromarray(grid).resize(size, Image.Resampling.NEAREST).save(path)
