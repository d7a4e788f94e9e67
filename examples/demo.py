"""The end of `scripts/demo`: are the samples the digits that were asked for, and are they new?"""

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

Rows = NDArray[np.float64]


def main(run: Path) -> None:
    digits = load_digits()
    real, labels = digits.data / 16, digits.target.astype(str)
    held_out = np.zeros(len(real), dtype=bool)
    held_out[json.loads((run / "model" / "split.json").read_text())["held_out"]] = True

    record = json.loads((run / "samples" / "samples.json").read_text())
    pictures = [np.asarray(Image.open(run / "samples" / name)) for name in record["files"]]
    samples = np.stack(pictures).reshape(len(pictures), -1) / 255
    asked = np.array(record["condition"]["label"])

    classifier = SVC(C=10).fit(real[~held_out], labels[~held_out])
    right = int((classifier.predict(samples) == asked).sum())
    right_real = int((classifier.predict(real[held_out]) == labels[held_out]).sum())
    low, high = wilson(right, len(samples))

    far, far_real = distances(samples, real[~held_out]), distances(real[held_out], real[~held_out])
    closest = np.quantile(far_real, 0.01)
    copies = int((far < closest).sum())

    trained, tested = int((~held_out).sum()), int(held_out.sum())
    print(f"\nsheet: {run / 'samples' / 'sheet.png'} (a column for each class; look at it)")
    print(f"class: {right} of {len(samples)} samples are the digit asked for (95 % interval {low:.2f} to {high:.2f}),")
    print(f"       says a classifier of the {trained} real training digits; of the {tested} real held-out digits")
    print(f"       it gets {right_real} right ({right_real / tested:.3f})")
    print(f"new:   the nearest training digit is {np.median(far):.2f} away in the median, for held-out digits")
    print(f"       {np.median(far_real):.2f}; {copies} samples are nearer than 99 % of held-out digits ({closest:.2f})")
    good, new = right >= 0.9 * len(samples), copies <= 0.05 * len(samples)
    print(
        f"so:    {'digits as asked' if good else 'NOT reliably the digits asked for'}, "
        f"{'no sign of copying' if new else 'SOME ARE NEAR COPIES of training digits'}; "
        "8x8 pixels and one seed, nothing else was measured"
    )


def distances(rows: Rows, among: Rows) -> Rows:
    """From each row to the nearest one among those."""
    return NearestNeighbors(n_neighbors=1).fit(among).kneighbors(rows)[0][:, 0]


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share."""
    share = right / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5 / (1 + z**2 / count)
    return centre - half, centre + half


if __name__ == "__main__":
    main(Path(sys.argv[1]))
