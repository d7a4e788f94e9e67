"""The embedded data set: 1,797 handwritten digits of 8x8 pixels that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from .arrays import ArraySource, labels_as_text


def open_digits(modality: str | None = None) -> ArraySource:
    """Return real digits (UCI, Alpaydin and Kaynak 1998); their grey levels 0..16 are spread over 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    labels = {"label": labels_as_text(bunch.target)}
    return ArraySource([images], modality, "the embedded data set digits", labels)
