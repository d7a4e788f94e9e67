"""What a report shows beside figures: pictures of items, texts side by side, distributions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Pair:
    """A generated item and the training item nearest to it, in the modality's own terms.

    `ratio` is the distance between the two over that to other near training items: 0 is a copy.
    """

    generated: Any
    nearest: Any
    ratio: float


@dataclass(frozen=True)
class Distribution:
    """One plain property of items, or one column: shares in the same bins, or of the same categories."""

    name: str
    bins: list[str]  # what each bin is called
    real: NDArray[np.float64]
    generated: NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A figure that was followed during training: the step, and the value."""

    name: str
    at: list[float]
    values: list[float]


@dataclass
class Material:
    """All of it. Sheets are one picture of many items: the first `shown` generated, and as many held-out ones."""

    generated: Image.Image | None = None
    real: Image.Image | None = None
    pairs: list[Pair] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    copied: list[tuple[str, str, str]] = field(default_factory=list)  # of texts: before, the span copied, after
    shown: int = 0
