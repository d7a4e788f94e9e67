"""Peak memory of a fit to many picture files over that to few: `ratio` should be at most 1.1.

Run: python benchmarks/memory.py       prints JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

_CHILD = """
import resource, runpy, sys
sys.argv = ["morphogen", *sys.argv[1:]]
try:
    runpy.run_module("morphogen", run_name="__main__")
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def make(folder: Path, count: int) -> None:
    """Write files of smooth random pictures, 64 x 64 in colour, in two classes."""
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(folder / "ab"[index % 2] / f"{index:06d}.png")


def peak_mib(source: Path, out: Path) -> float:
    """Return the peak memory of a short fit."""
    flags = ["fit", str(source), "--out", str(out), "--family", "vae", "--options.width", "16"]
    flags += ["--train.steps", "20", "--train.batch", "64", "--train.previews", "0"]
    process = subprocess.run([sys.executable, "-c", _CHILD, *flags], check=True, capture_output=True, text=True)
    return int(process.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=2_000)
    parser.add_argument("--many", type=int, default=50_000)
    arguments = parser.parse_args()
    peaks = {}
    with tempfile.TemporaryDirectory() as scratch:
        for count in (arguments.few, arguments.many):
            folder = Path(scratch) / str(count)
            make(folder, count)
            peaks[count] = peak_mib(folder, Path(scratch) / f"model-{count}")
    ratio = peaks[arguments.many] / peaks[arguments.few]
    print(json.dumps({"peak_mib": peaks, "ratio": round(ratio, 3)}))


if __name__ == "__main__":
    main()
