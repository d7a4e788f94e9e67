"""torch-fidelity's FID, KID, precision and recall on given features, timed one after the other.

It draws its subsets for KID by a seed of its own; which these are is written down, too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torchvision_stub  # noqa: F401  (torch_fidelity imports torchvision, of which nothing here needs anything)
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

SEED, SUBSETS, SIZE = 2020, 100, 1000


def main() -> None:
    found = argparse.ArgumentParser(description=__doc__)
    found.add_argument("--generated", type=Path, required=True, help="npy, (N, d)")
    found.add_argument("--real", type=Path, required=True)
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--double", action="store_true", help="the features in double precision, for agreement")
    found.add_argument("--subsets", type=Path, help="where to write which rows are in its subsets")
    options = found.parse_args()
    torch.set_num_threads(options.threads)
    kind = torch.float64 if options.double else torch.float32
    generated, real = (torch.from_numpy(np.load(path)).to(kind) for path in (options.generated, options.real))
    common = {"verbose": False}
    done: dict[str, float] = {}
    seconds: dict[str, float] = {}

    started = time.perf_counter()
    statistics = [fid_features_to_statistics(features) for features in (generated, real)]
    done |= fid_statistics_to_metric(*statistics, verbose=False)
    seconds["fid"] = time.perf_counter() - started

    started = time.perf_counter()
    kernel = {"kid_subsets": SUBSETS, "kid_subset_size": SIZE, "kid_kernel": "poly", "kid_kernel_poly_degree": 3}
    kernel |= {"kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0, "rng_seed": SEED}
    done |= kid_features_to_metric(generated, real, **kernel, **common)
    seconds["kid"] = time.perf_counter() - started

    started = time.perf_counter()
    done |= prc_features_to_metric(
        generated, real, prc_neighborhood=3, prc_batch_size=10_000, save_cpu_ram=False, **common
    )
    seconds["prc"] = time.perf_counter() - started

    if options.subsets:
        random = np.random.RandomState(SEED)
        rows = [
            [random.choice(len(features), SIZE, replace=False) for features in (generated, real)]
            for _ in range(SUBSETS)
        ]
        np.save(options.subsets, np.array(rows))
    print(json.dumps({"figures": done, "seconds": seconds}))


if __name__ == "__main__":
    main()
