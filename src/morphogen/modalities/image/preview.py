"""A preview of pictures: a contact sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .pixels import plain, recast

_LEGIBLE, _GAP, _TEXT = 64, 2, 14  # pixels: the side small pictures are enlarged to, the gap, the font


def sheet(
    items: Sequence[Image.Image],
    columns: int | None = None,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
) -> Image.Image:
    """Return all pictures on one, row by row, small ones enlarged by whole factors; captions stand left of rows."""
    pictures = [recast(plain(item, "white"), "RGB") for item in items] or [Image.new("RGB", (1, 1), "white")]
    if columns is None:
        columns = math.ceil(len(pictures) / len(captions) if captions else math.sqrt(len(pictures)))
    columns = max(1, min(columns, len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = max(one.width for one in pictures), max(one.height for one in pictures)
    if scale is None:
        scale = max(1, math.ceil(_LEGIBLE / max(width, height)))
    font = ImageFont.load_default(_TEXT)
    margin = _GAP + (math.ceil(max(font.getlength(text) for text in captions)) + 2 * _GAP if captions else 0)
    across, down = width * scale + _GAP, height * scale + _GAP
    canvas = Image.new("RGB", (margin + columns * across, _GAP + rows * down), "white")
    for number, one in enumerate(pictures):
        row, column = divmod(number, columns)
        large = one.resize((one.width * scale, one.height * scale), Image.Resampling.NEAREST)
        canvas.paste(large, (margin + column * across, _GAP + row * down))
    draw = ImageDraw.Draw(canvas)
    for row, text in enumerate((captions or ())[:rows]):
        draw.text((_GAP, _GAP + row * down + height * scale / 2), text, fill="black", font=font, anchor="lm")
    return canvas
