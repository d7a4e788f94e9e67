"""Pictures of any size, grey or colour, 8 or 16 bit. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from morphogen.core.modality import FirstFamily, Modality, Record
from morphogen.core.space import Grid, Space, Tokens

from .mask import Mask, find_masks
from .options import Options

if TYPE_CHECKING:
    from PIL import Image

    from morphogen.core.codec import Codec
    from morphogen.core.judge import Judge

_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".jfif", ".jpe", ".avif", ".apng"),
)
_PIXELS = 32 * 32  # up to which a model of single pixels is trained in minutes
_UNKNOWN = 0.1  # strength of the claim on bytes in an unknown format


class ImageModality(Modality["list[Image.Image]"]):
    """Pictures as PIL images."""

    name = "image"
    noun, plural = "picture", "pictures"
    spaces: ClassVar[tuple[type[Space], ...]] = (Grid, Tokens)
    default_family = "vae"
    large_family = "latent_diffusion"  # of pictures above 32 x 32 pixels
    Options, Mask = Options, Mask
    accepts: ClassVar[dict[str, str]] = {
        "file": ", ".join(_SUFFIXES[:6]),
        "array": "numbers of shape (N, H, W), (N, H, W, channels) or (N, channels, H, W)",
        "cells": "the bytes of picture files",
        "object": "a PIL image, or an array (H, W), (H, W, 3) or (3, H, W)",
    }

    def claims(self, record: Record) -> float:
        if record.kind == "file":
            return 1.0 if record.name.lower().endswith(_SUFFIXES) else 0.0
        if record.kind == "array":
            from .files import are_pictures

            return 0.8 if are_pictures(record.example) else 0.0
        if record.kind == "object":
            from PIL import Image

            if isinstance(record.example, Image.Image):
                return 1.0
            return 0.5 if getattr(record.example, "ndim", 0) in (2, 3) else 0.0
        return self._claims_cells(record) if record.kind == "cells" else 0.0

    def _claims_cells(self, record: Record) -> float:
        if record.feature == "Image":  # as the Hub calls them
            return 1.0
        data = [cell for cell in record.example if isinstance(cell, bytes)]
        if not data:
            return 0.0
        from .files import is_picture

        return 1.0 if any(map(is_picture, data)) else _UNKNOWN

    def read(self, raw: Any, name: str) -> Image.Image:
        from .files import read

        return read(raw, name)

    def array_reader(self, arrays: Sequence[Any]) -> Callable[[Any, str], Image.Image]:
        """Return a function that reads one of the pictures in arrays, with values rescaled to those of pixels."""
        from .files import from_array, rescaler

        rescale = rescaler(arrays)
        return lambda array, name: from_array(rescale(array), name)

    def write(self, parts: Iterable[list[Image.Image]], folder: Path) -> list[Path]:
        from .files import write

        return write(chain.from_iterable(parts), folder)

    def fit(self, chunks: Iterable[list[Image.Image]], kind: type[Space], options: Any) -> Codec[list[Image.Image]]:
        from .codec import ImageCodec

        return ImageCodec.fit(chunks, kind, options)

    def load_codec(self, folder: Path) -> Codec[list[Image.Image]]:
        from .codec import ImageCodec

        return ImageCodec.load(folder)

    def first_family(self, items: Iterable[Image.Image], options: Any) -> FirstFamily:
        """Return a model of an autoencoder's latents above 32 x 32 pixels."""
        from .inference import PictureStatistics

        statistics = PictureStatistics(options)
        statistics.add(items)
        if not statistics.sizes:
            return super().first_family(items, options)
        height, width = statistics.choose().size
        if height * width <= _PIXELS:
            return super().first_family(items, options)
        return FirstFamily(
            self.large_family,
            f"pictures of {width}x{height} have too many pixels to be modelled one by one in minutes",
            "colours and shapes in a few minutes, sharper with more",
        )

    def preview(self, items: list[Image.Image]) -> Image.Image:
        from .preview import sheet

        return sheet(items)

    def judge(self) -> Judge[Any]:
        from .judge import JUDGE

        return JUDGE

    def mask(self, items: list[Image.Image], mask: Any) -> list[Image.Image]:
        return find_masks(items, mask)

    def weigh(self, item: Image.Image) -> int:
        return item.width * item.height * (2 if item.mode.startswith("I") else len(item.getbands()))


MODALITY = ImageModality()
