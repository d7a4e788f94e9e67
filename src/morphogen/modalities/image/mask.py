"""Which parts of pictures are missing: a half, the middle, the white of a mask, or what is transparent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from morphogen.core.config import Frozen
from morphogen.core.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

# Left, top, right and bottom of the missing box, as shares of the sides.
_BOXES = {
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.5),
    "bottom": (0.0, 0.5, 1.0, 1.0),
    "middle": (0.25, 0.25, 0.75, 0.75),
}


class Mask(Frozen):
    """Which parts of pictures are missing."""

    mask: str | None = Field(
        None,
        description="Missing part: left, right, top, bottom, middle, or the path of a picture that is white there; "
        "None: the transparent part.",
    )


def find_masks(items: Sequence[Image.Image], mask: Mask) -> list[Image.Image]:
    """Return a mask for each picture, black where the picture is known.

    Raises UserError if the mask is no readable picture, or if nothing of a picture is missing.
    """
    from PIL import ImageOps

    where = mask.mask
    items = [ImageOps.exif_transpose(item) for item in items]  # upright, as they are encoded
    if where is None:
        return [_transparent(item, number) for number, item in enumerate(items)]
    if where in _BOXES:
        return [_box(item.size, _BOXES[where]) for item in items]
    if not Path(where).exists():
        raise UserError(f"--mask {where} is no file; give one, or {', '.join(_BOXES)}")
    from .files import read

    picture = read(Path(where), where).convert("L")
    if picture.getextrema() == (0, 0):
        raise UserError(f"--mask {where} is all black, so nothing is missing; make the missing part white")
    return [picture for _ in items]


def as_mask(mask: Any, name: str) -> Image.Image:
    """Return a mask, a picture or an array `(H, W)` that is not 0 where something is missing, as grey pixels.

    Raises UserError where it is neither.
    """
    from PIL import Image

    if isinstance(mask, Image.Image):
        return mask.convert("L")
    if getattr(mask, "ndim", 0) != 2 or not hasattr(mask, "dtype"):
        raise UserError(
            f"{name} is {mask!r:.40}; expected a picture, or an array (H, W) that is true where it is missing"
        )
    import numpy as np

    return Image.fromarray((np.asarray(mask) != 0).astype(np.uint8) * np.uint8(255))


def _transparent(item: Image.Image, number: int) -> Image.Image:
    if not item.has_transparency_data:
        raise UserError(f"picture {number} has no transparent part to fill in; give --mask")
    mask = item.convert("RGBA").getchannel("A").point([255] * 255 + [0])
    if mask.getextrema() == (0, 0):
        raise UserError(f"picture {number} is opaque everywhere, so nothing is missing; give --mask")
    return mask


def _box(size: tuple[int, int], shares: tuple[float, float, float, float]) -> Image.Image:
    from PIL import Image

    width, height = size
    mask = Image.new("L", size, 0)
    left, top, right, bottom = shares
    mask.paste(255, (int(left * width), int(top * height), max(1, int(right * width)), max(1, int(bottom * height))))
    return mask
