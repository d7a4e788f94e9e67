"""Small items of each modality, and a model of some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
from PIL import Image

from morphogen.core.space import Grid
from morphogen.data.sources import open_source
from morphogen.modalities.image.codec import ImageCodec
from morphogen.pipeline import Pipeline
from morphogen.testing.replay import replaying

COUNT = 30


def words(count: int = COUNT, seed: int = 0) -> list[str]:
    return ["".join(one) for one in np.random.default_rng(seed).choice(list("abcdefgh "), (count, 50))]


def shades(count: int = COUNT, seed: int = 0) -> list[Image.Image]:
    values = np.random.default_rng(seed).integers(0, 256, (count, 6, 6), dtype=np.uint8)
    return [Image.fromarray(one) for one in values]


def rows(count: int = COUNT, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return arrow.table({"a": random.normal(size=count), "b": random.choice(["x", "y"], count)})


def smooth_pictures(*sizes: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    """Colour pictures of these sizes (H, W), smooth and so unlike each other."""
    random = np.random.default_rng(seed)
    coarse = [Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in sizes]
    return [one.resize(size[::-1], Image.Resampling.BICUBIC) for one, size in zip(coarse, sizes, strict=True)]


def picture_model(tmp_path: Path) -> Pipeline:
    """Return a model of a folder of thirty pictures in two classes, every fourth held out."""
    for number, one in enumerate(shades()):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        one.save(path)
    source = open_source(str(tmp_path / "photos"))
    codec = ImageCodec.fit([shades()], Grid)
    return replaying(
        tmp_path / "model", source, codec, shades(), list(range(0, COUNT, 4)), spec=str(tmp_path / "photos")
    )
