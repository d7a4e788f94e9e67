"""A preview of pictures: a contact sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from .pixels import plain, recast

_LEGIBLE, _GAP = 64, 2  # pixels: the side that small pictures are enlarged to, and the gap between pictures


def sheet(items: Sequence[Image.Image]) -> Image.Image:
    """Return one picture with all the others in a square of rows, small ones enlarged by a whole factor."""
    pictures = [recast(plain(item, "white"), "RGB") for item in items] or [Image.new("RGB", (1, 1), "white")]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = max(one.width for one in pictures), max(one.height for one in pictures)
    scale = max(1, math.ceil(_LEGIBLE / max(width, height)))
    across, down = width * scale + _GAP, height * scale + _GAP
    canvas = Image.new("RGB", (_GAP + columns * across, _GAP + rows * down), "white")
    for number, one in enumerate(pictures):
        row, column = divmod(number, columns)
        large = one.resize((one.width * scale, one.height * scale), Image.Resampling.NEAREST)
        canvas.paste(large, (_GAP + column * across, _GAP + row * down))
    return canvas
