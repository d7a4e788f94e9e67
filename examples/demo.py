"""The end of `scripts/demo`: are the samples the requested digits, and are they new?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC

from morphogen.metrics.statistics.intervals import share_interval

Pixels = NDArray[np.float64]


def main(run: Path) -> None:
    digits = load_digits()
    real, labels = digits.data / 16, digits.target.astype(str)
    held_out = np.zeros(len(real), dtype=bool)
    held_out[json.loads((run / "model" / "split.json").read_text())["held_out"]] = True

    record = json.loads((run / "samples" / "samples.json").read_text())
    pictures = [np.asarray(Image.open(run / "samples" / name)) for name in record["files"]]
    samples = np.stack(pictures).reshape(len(pictures), -1) / 255
    requested = np.array([str(index % 10) for index in range(len(samples))])  # label=all: all classes in turn

    classifier = SVC(C=10).fit(real[~held_out], labels[~held_out])
    right = int((classifier.predict(samples) == requested).sum())
    right_real = int((classifier.predict(real[held_out]) == labels[held_out]).sum())
    low, high = share_interval(right, len(samples))

    far, far_real = distances(samples, real[~held_out]), distances(real[held_out], real[~held_out])
    closest = np.quantile(far_real, 0.01)
    copies = int((far < closest).sum())

    trained, tested = int((~held_out).sum()), int(held_out.sum())
    print(f"\nsheet: {run / 'samples' / 'sheet.png'} (one column per class; look at it)")
    print(f"class: a classifier recognises the requested digit in {right} of {len(samples)} samples (95 % interval")
    print(f"       {low:.2f} to {high:.2f}). It was trained on the {trained} training digits, and recognises")
    print(f"       {right_real} of the {tested} real held-out digits ({right_real / tested:.3f})")
    print(f"new:   the median distance to the nearest training digit is {np.median(far):.2f}; of held-out digits it is")
    print(f"       {np.median(far_real):.2f}. {copies} samples are nearer than 99 % of held-out digits ({closest:.2f})")
    good, new = right >= 0.9 * len(samples), copies <= 0.05 * len(samples)
    print(
        f"so:    {'the requested digits' if good else 'NOT reliably the requested digits'}, "
        f"{'no sign of copying' if new else 'SOME ARE NEAR COPIES of training digits'}; "
        "8x8 pixels and one seed, nothing else was measured"
    )


def distances(x: Pixels, among: Pixels) -> Pixels:
    """Return the distance from each item of x to the nearest one in `among`, `(N,)`."""
    return NearestNeighbors(n_neighbors=1).fit(among).kneighbors(x)[0][:, 0]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
