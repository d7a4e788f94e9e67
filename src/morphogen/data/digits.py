"""The embedded data set: 1,797 handwritten digits of 8x8 pixels that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from .arrays import ArraySource, texts


def open_digits() -> ArraySource:
    """Real digits (UCI, Alpaydin and Kaynak 1998); their grey levels 0..16 are spread over 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return ArraySource([images], "image", "the embedded data set digits", {"label": texts(bunch.target)})
