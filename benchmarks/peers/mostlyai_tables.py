"""The peer on tables: mostlyai-engine at its defaults, from a table to generated rows."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch


def main() -> None:
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="parquet file to train on")
    parser.add_argument("--out", type=Path, required=True, help="parquet file to write")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)
    from mostlyai import engine

    engine.set_random_state(arguments.seed)
    space = arguments.out.with_suffix(".workspace")
    shutil.rmtree(space, ignore_errors=True)
    engine.split(tgt_data=pd.read_parquet(arguments.data), workspace_dir=space, model_type="TABULAR")
    engine.analyze(workspace_dir=space)
    engine.encode(workspace_dir=space)
    engine.train(workspace_dir=space)
    trained = time.perf_counter()
    engine.generate(workspace_dir=space, sample_size=arguments.rows)
    pd.read_parquet(space / "SyntheticData").to_parquet(arguments.out)
    shutil.rmtree(space, ignore_errors=True)
    print(
        json.dumps(
            {
                "seconds_training": round(trained - started, 1),
                "seconds_sampling": round(time.perf_counter() - trained, 1),
                "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
