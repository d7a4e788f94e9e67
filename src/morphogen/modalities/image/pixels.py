"""Pixel work on one picture: upright, opaque, in one mode, at one size. PIL and numpy only."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from morphogen.core.errors import UserError

Fit = Literal["crop", "pad", "stretch"]
Range = tuple[float, float]
_RANGES: tuple[Range, ...] = ((0, 1), (-1, 1), (0, 255), (0, 65535))
_ORIENTATION = 0x0112  # the EXIF tag


def colour(name: str) -> tuple[int, int, int]:
    """Return red, green, blue in 0..255 of a colour name or #rrggbb. Raises UserError where it is neither."""
    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError:
        raise UserError(f"background '{name}' is no colour; expected a name such as 'white', or #rrggbb") from None
    return red, green, blue


def checked_colour(name: str) -> str:
    """Return the name of a colour. Raises UserError where it is none."""
    colour(name)
    return name


def float_range(low: float, high: float) -> Range:
    """Return the range that the float pixels of one picture are meant in, from its lowest and its highest.

    It is the narrowest of 0..1, -1..1, 0..255 and 0..65535 that holds them, else `low..high`.
    """
    fitting = (one for one in _RANGES if one[0] <= low and high <= one[1])
    return next(fitting, (low, high))


def float_range_of_set(low: float, high: float, *, whole: bool) -> Range:
    """Return the range that the float pixels of a whole set are meant in; `whole`: they are all whole numbers.

    It is that of one picture where they fill half of it, or are the levels of 0..255, else `low..high`: of pixels in a
    small part of a range, few of the 256 levels would be left.
    """
    start, end = float_range(low, high)
    levels = whole and (start, end) == (0, 255)
    return (start, end) if levels or high - low >= (end - start) / 2 else (low, high)


def plain(image: Image.Image, background: str, own_range: Range | None = None) -> Image.Image:
    """Return the picture upright (EXIF), opaque on `background`, in one of the modes L, RGB, I;16.

    Float pixels lie in `own_range`; None: in the range that this picture alone suggests.
    """
    if (type(image) is not Image.Image or "exif" in image.info) and image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image)
        return Image.fromarray(np.clip(values, 0, 65535).astype(np.uint16))
    if image.mode == "F":
        floats = np.nan_to_num(np.asarray(image).astype(np.float64))
        low, high = own_range or float_range(float(floats.min()), float(floats.max()))
        scaled = (floats - low) * (255 / (high - low) if high > low else 0)
        return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "La":  # premultiplied; PIL knows no shorter way
        image = image.convert("LA")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, (*colour(background), 255))
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def is_coloured(image: Image.Image) -> bool:
    """Return whether a plain picture holds a pixel that is not grey; a grey one is often saved as RGB."""
    if image.mode != "RGB":
        return False
    values = np.asarray(image)
    return bool((values[..., 0] != values[..., 1]).any() or (values[..., 1] != values[..., 2]).any())


def recast(image: Image.Image, mode: str) -> Image.Image:
    """Return a plain picture in `mode` (L, RGB or I;16), its range kept: black stays black, white stays white."""
    if image.mode == mode:
        return image
    if image.mode == "I;16":
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * np.uint16(257))
    return image.convert(mode)


def resized(image: Image.Image, size: tuple[int, int], fit: Fit, background: str) -> Image.Image:
    """Return a picture in L, RGB, I;16 or F at `size` (H, W), anti-aliased (Lanczos)."""
    height, width = size
    if image.size == (width, height):
        return image
    if image.mode == "I;16":
        level = recast(Image.new("RGB", (1, 1), colour(background)), "I;16").getpixel((0, 0))
        wide = _resized(Image.fromarray(np.asarray(image).astype(np.float32)), (width, height), fit, level)
        return Image.fromarray(np.clip(np.rint(np.asarray(wide)), 0, 65535).astype(np.uint16))
    filling = Image.new("RGB", (1, 1), colour(background)).convert(image.mode).getpixel((0, 0))
    return _resized(image, (width, height), fit, filling)


def _resized(image: Image.Image, size: tuple[int, int], fit: Fit, filling: object) -> Image.Image:
    width, height = size
    box = (0.0, 0.0, float(image.width), float(image.height))
    if fit == "crop":
        scale = min(image.width / width, image.height / height)
        left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
        # A box even a rounding error outside the picture is refused.
        box = (max(left, 0), max(top, 0), min(left + width * scale, box[2]), min(top + height * scale, box[3]))
    elif fit == "pad":
        scale = max(image.width / width, image.height / height)
        inner = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
        small = image.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0)
        canvas = Image.new(image.mode, size, filling)  # type: ignore[arg-type]
        canvas.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return canvas
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def values(image: Image.Image) -> NDArray[np.generic]:
    """Return the pixels as `(H, W)` or `(H, W, 3)`, uint8 or uint16."""
    array = np.asarray(image)
    return array if array.dtype == np.uint8 else array.astype(np.uint16)
