"""torch-fidelity's Inception features of a stack of pictures, with any weights in its layout.

Runs in the environment "fidelity". Reads uint8 pictures `(N, H, W, 3)` from --pictures, and writes `features`
`(N, 2048)` and `logits_unbiased` `(N, 1008)` to --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torchvision_stub  # noqa: F401  (torch_fidelity imports torchvision, of which nothing here needs anything)
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--weights", "--pictures", "--out"):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)

    names = ["2048", "logits_unbiased"]
    theirs = FeatureExtractorInceptionV3("inception-v3-compat", names, feature_extractor_weights_path=options.weights)
    pictures = torch.from_numpy(np.load(options.pictures)).permute(0, 3, 1, 2)
    with torch.no_grad():
        parts = [theirs(part) for part in pictures.split(16)]
    features, logits = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    np.savez(options.out, features=features, logits_unbiased=logits)


if __name__ == "__main__":
    main()
