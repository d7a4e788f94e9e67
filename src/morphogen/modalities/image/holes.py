"""Where pictures are to be filled in: a mask, a half, the middle, or what is transparent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from morphogen.core.errors import UserError

from . import files

# Left, top, right and bottom of the hole, as shares of the sides.
_PARTS = {
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.5),
    "bottom": (0.0, 0.5, 1.0, 1.0),
    "middle": (0.25, 0.25, 0.75, 0.75),
}


def find(items: Sequence[Image.Image], where: str | None) -> list[Image.Image]:
    """A mask for each picture, black where all is known.

    `where` is left, right, top, bottom or middle, the file of a mask for all, or None: what is transparent.
    Raises UserError on a file that is none, and on a picture that has no hole.
    """
    items = [ImageOps.exif_transpose(item) for item in items]  # as they are seen, and encoded
    if where is None:
        return [_transparent(item, number) for number, item in enumerate(items)]
    if where in _PARTS:
        return [_box(item.size, _PARTS[where]) for item in items]
    if not Path(where).exists():
        raise UserError(f"--mask {where} is no file; give one, or {', '.join(_PARTS)}")
    mask = files.read(Path(where)).convert("L")
    if mask.getextrema() == (0, 0):
        raise UserError(f"--mask {where} is all black: nothing is to be filled in; make the hole white")
    return [mask for _ in items]


def _transparent(item: Image.Image, number: int) -> Image.Image:
    if not item.has_transparency_data:
        raise UserError(f"picture {number} has no transparent part to fill in; give --mask")
    mask = item.convert("RGBA").getchannel("A").point([255] * 255 + [0])
    if mask.getextrema() == (0, 0):
        raise UserError(f"picture {number} is opaque everywhere: nothing is to be filled in; give --mask")
    return mask


def _box(size: tuple[int, int], part: tuple[float, float, float, float]) -> Image.Image:
    width, height = size
    mask = Image.new("L", size, 0)
    left, top, right, bottom = part
    box = (int(left * width), int(top * height), max(1, int(right * width)), max(1, int(bottom * height)))
    mask.paste(255, box)
    return mask
