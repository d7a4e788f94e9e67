"""Picture files: which suffixes they have, reading one, making one from an array, writing many."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from morphogen.core.config import replacing
from morphogen.core.errors import BadItem, UserError

ITEM = Image.Image  # what a raw item is
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2")
)  # lower case, with the dot


def read(source: Path | str | bytes | BytesIO, name: str | None = None) -> Image.Image:
    """The picture, fully decoded (the first frame of several). Raises BadItem naming the file (`name` for bytes)."""
    name = name or (str(source) if isinstance(source, (str, Path)) else "picture")
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise BadItem(f"{name} does not exist") from None
    except UnidentifiedImageError:
        raise BadItem(f"{name} is not a picture; remove it or save it as PNG or JPEG") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadItem(f"{name} is too large to be decoded safely; scale it down first") from None
    except Exception as error:  # decoders raise anything at all on damaged bytes
        raise BadItem(f"{name} is damaged or truncated ({error}); remove it or fetch it again") from None


def from_array(array: Any) -> Image.Image:
    """One picture from `(H, W)`, `(H, W, 1|2|3|4)` or `(1|3|4, H, W)`: bool, uint8, uint16, or floats in [0, 1].

    Floats become 8 bit. Raises BadItem on another shape, type or range.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[-1] not in (1, 2, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (2, 3, 4))) or 0 in array.shape:
        raise BadItem(f"an array of shape {array.shape} is no picture; expected (H, W), (H, W, 3) or (3, H, W)")
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):
            raise BadItem(f"float pixels lie in {array.min():g}..{array.max():g}; expected 0..1")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype == np.uint16 and array.ndim == 3:
        array = np.rint(array / 257).astype(np.uint8)  # PIL holds 16 bits in grey only
    if array.dtype not in (np.uint8, np.uint16):
        raise BadItem(f"pixels of type {array.dtype} are not understood; expected uint8, uint16 or floats in 0..1")
    return Image.fromarray(np.ascontiguousarray(array))


def weigh(item: Image.Image) -> int:
    """The memory a decoded picture takes, in bytes."""
    return item.width * item.height * (2 if item.mode.startswith("I") else len(item.getbands()))


def write(items: Iterable[Image.Image], folder: Path, start: int = 0) -> list[Path]:
    """Write `00000.png` and so on from `start`, each whole or not at all. Raises UserError where the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"could not make the folder {folder}: {error.strerror}; choose another --out") from None
    paths = []
    for number, item in enumerate(items, start):
        path = folder / f"{number:05d}.png"
        with replacing(path) as temporary:
            item.save(temporary, format="PNG")
        paths.append(path)
    return paths
