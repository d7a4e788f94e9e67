"""torch-fidelity's FID, KID, precision and recall on given features, timed one after the other.

It samples the subsets for KID with a seed of its own; their indices are written, too.
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generated", type=Path, required=True, help="npy, (N, d)")
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--double", action="store_true", help="features in double precision, to compare values")
    parser.add_argument("--subsets", type=Path, help="file for the indices of its subsets")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kind = torch.float64 if options.double else torch.float32
    generated, real = (torch.from_numpy(np.load(path)).to(kind) for path in (options.generated, options.real))
    common = {"verbose": False}
    figures: dict[str, float] = {}
    seconds: dict[str, float] = {}

    started = time.perf_counter()
    statistics = [fid_features_to_statistics(features) for features in (generated, real)]
    figures |= fid_statistics_to_metric(*statistics, verbose=False)
    seconds["fid"] = time.perf_counter() - started

    started = time.perf_counter()
    kernel = {"kid_subsets": SUBSETS, "kid_subset_size": SIZE, "kid_kernel": "poly", "kid_kernel_poly_degree": 3}
    kernel |= {"kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0, "rng_seed": SEED}
    figures |= kid_features_to_metric(generated, real, **kernel, **common)
    seconds["kid"] = time.perf_counter() - started

    started = time.perf_counter()
    figures |= prc_features_to_metric(
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
    print(json.dumps({"figures": figures, "seconds": seconds}))


if __name__ == "__main__":
    main()
