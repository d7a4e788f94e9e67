"""What every contestant does alike: threads, data, the clock, and what it leaves behind.

Runs in the peers' own environments, so it needs numpy, torch and Pillow only.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

# Seconds that sampling may take; a slower contestant gives half as many, and then all are judged on so many.
PATIENCE = 480


def parser() -> argparse.ArgumentParser:
    """The flags that every contestant takes."""
    found = argparse.ArgumentParser()
    found.add_argument("--data", type=Path, required=True, help="the four idx.gz files, or train and test of PNG")
    found.add_argument("--out", type=Path, required=True)
    found.add_argument("--minutes", type=float, default=10)
    found.add_argument("--samples", type=int, default=10_000)
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--seed", type=int, default=0)
    return found


def prepare(threads: int, seed: int) -> None:
    """Equal terms for all: so many threads, this seed, and no denormal numbers, which slow long CPU runs down."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    np.random.seed(seed)  # pythae's mixture draws from the global state


def pictures(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """`train` or `test`: uint8 `(N, H, W)`, or `(N, H, W, 3)` in colour, and labels `(N,)`.

    Of the four idx files of Fashion-MNIST, or of PNG files in `split/label/` as `emoji64.py` leaves them.
    """
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
    """`(N, C, H, W)` in [0, 1] of what `pictures` gives."""
    x = torch.from_numpy(np.array(images)).float() / 255
    return x[:, None] if x.dim() == 3 else x.movedim(-1, 1)


@dataclass(frozen=True)
class Mode:
    """How a network is run on this machine: number format and memory layout."""

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
    """The mode that trains fastest here, and images/s of each. Tried on copies and outside the budget."""
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
    """Batches without end, in a new order each epoch."""
    random = torch.Generator().manual_seed(seed)
    while True:
        for index in torch.randperm(len(images), generator=random).split(batch):
            if len(index) == batch:
                yield images[index]


def train(step: Callable[[Tensor, float], Tensor], batches: Iterator[Tensor], minutes: float) -> dict[str, Any]:
    """Call `step(batch, share of the budget spent)` until the time is over. The clock starts at the first step."""
    seen = steps = 0
    start = shown = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < minutes * 60:
        batch = next(batches)
        loss = step(batch, elapsed / (minutes * 60))
        seen, steps = seen + len(batch), steps + 1
        if time.perf_counter() - shown > 15:
            shown = time.perf_counter()
            print(f"{elapsed:6.0f} s  step {steps}  loss {loss.item():.4f}  {seen / elapsed:.1f} images/s", flush=True)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "steps": steps, "images": seen, "images_per_second": seen / seconds}


def sample(draw: Callable[[int, int], np.ndarray], asked: int, batch: int) -> tuple[np.ndarray, dict[str, Any]]:
    """`draw(first, count)` in batches: uint8 pictures and the rate; half as many where `asked` would take too long."""
    found: list[np.ndarray] = []
    start, count, wanted = time.perf_counter(), 0, asked
    while count < wanted:
        found.append(draw(count, min(batch, wanted - count)))
        count += len(found[-1])
        seconds = time.perf_counter() - start
        if len(found) == 2 and seconds / count * asked > PATIENCE:
            wanted = asked // 2
    print(f"sampled {count} in {seconds:.1f} s", flush=True)
    return np.concatenate(found), {"samples": count, "seconds": seconds, "images_per_second": count / seconds}


def plain(rates: dict[str, float]) -> Mode:
    """The faster layout in float32: where quality must not be blamed on a number format."""
    return max((mode for mode in MODES if not mode.bfloat16), key=lambda mode: rates[str(mode)])


def to_bytes(x: Tensor, low: float, high: float) -> np.ndarray:
    """`(B, C, H, W)` in [low, high] as `pictures` gives them, rounded to the nearest."""
    x = ((x.detach().float() - low) / (high - low) * 255).round().clamp(0, 255).byte()
    return (x.squeeze(1) if x.shape[1] == 1 else x.movedim(1, -1)).numpy()


def peak_memory(who: int = resource.RUSAGE_SELF) -> float:
    """The largest resident set so far, MiB (Linux counts it in KiB)."""
    return resource.getrusage(who).ru_maxrss / 1024


def write_json(path: Path, data: Any) -> None:
    """Write the file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(data, indent=2) + "\n")
    os.replace(temporary, path)


def leave(out: Path, samples: np.ndarray, record: dict[str, Any], labels: np.ndarray | None = None) -> None:
    """Write samples.npy, labels.npy where there are any, a sheet of the first hundred, and sampling.json at last."""
    out.mkdir(parents=True, exist_ok=True)
    if labels is not None:
        np.save(out / "labels.npy", labels)
    sheet(samples, out / "sheet.png")
    np.save(out / "samples.npy", samples)
    write_json(out / "sampling.json", record)


def sheet(samples: np.ndarray, path: Path) -> None:
    """The first hundred as a 10 x 10 sheet, a pixel of black around each; small ones twice their size."""
    height, width, *colours = samples.shape[1:]
    tiles = np.zeros((100, height + 2, width + 2, *colours), np.uint8)
    tiles[: len(samples[:100]), 1:-1, 1:-1] = samples[:100]
    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in tiles.reshape(10, 10, *tiles.shape[1:])])
    factor = 2 if width < 50 else 1
    size = (grid.shape[1] * factor, grid.shape[0] * factor)
    Image.fromarray(grid).resize(size, Image.Resampling.NEAREST).save(path)
