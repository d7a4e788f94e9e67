"""How long one sample takes once a model is loaded: rows, and pictures of 8 x 8; see README.md beside this file."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import tables_data
import torch
from contest import DATA, write_json

import morphogen

HERE = Path(__file__).resolve().parent
REPEATS = 30


def latency(pipe: morphogen.Pipeline) -> dict[str, float]:
    """Return the median and the fastest milliseconds of `sample(1)`, after one call to warm up."""
    pipe.sample(1)
    milliseconds = []
    for seed in range(REPEATS):
        started = time.perf_counter()
        pipe.sample(1, seed=seed)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return {"median": round(statistics.median(milliseconds), 1), "fastest": round(min(milliseconds), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--minutes", type=float, default=0.5, help="of each fit, which decides the size of the model")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "latency.json")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables_data.write("adult", options.data, folder / "adult")
        sources = {
            "rows, autoregressive": (folder / "adult" / "train.parquet", "autoregressive"),
            "pictures 8 x 8, diffusion": ("digits", "diffusion"),
            "pictures 8 x 8, vae": ("digits", "vae"),
        }
        for label, (source, family) in sources.items():
            out = folder / family
            morphogen.fit(source, out=out, family=family, minutes=options.minutes, say=None)
            results[label] = latency(morphogen.load(out))
            print(label, results[label], flush=True)
    write_json(options.results, {"threads": torch.get_num_threads(), "milliseconds of sample(1)": results})


if __name__ == "__main__":
    main()
