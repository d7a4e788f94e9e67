"""Picture files and arrays: reading one, and writing many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from morphogen.core.config import replacing
from morphogen.core.errors import BadItem, UserError
from morphogen.core.files import guard

Array = NDArray[Any]


def read(raw: Any, name: str) -> Image.Image:
    """Return the picture in a file, in bytes or in an array, fully decoded; of several frames the first.

    A PIL image is returned as it is. Raises BadItem with `name` if there is no readable picture.
    """
    if isinstance(raw, Image.Image):
        return raw
    if not isinstance(raw, (str, Path, bytes)):
        return from_array(raw, name)
    with guard(name, "is damaged or truncated", "remove it or fetch it again", BadItem):
        try:
            with Image.open(BytesIO(raw) if isinstance(raw, bytes) else raw) as image:
                image.load()
                image.getexif()  # damage in it is noticed here, and not when it is applied
                return image
        except UnidentifiedImageError:
            raise BadItem(f"{name} is not a picture; remove it or save it as PNG or JPEG") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise BadItem(f"{name} is too large to be decoded safely; scale it down first") from None


def is_picture(data: bytes) -> bool:
    """Return whether bytes are those of a picture file, by its header."""
    try:
        with Image.open(BytesIO(data)):
            return True
    except Exception:  # decoders raise anything at all on damaged bytes
        return False


def as_pictures(items: Any) -> list[Image.Image]:
    """Return the pictures in an array or a list of arrays and PIL images. Raises BadItem on anything else."""
    if isinstance(items, Image.Image):
        return [items]
    if isinstance(items, (list, tuple)) and len(items) == 1 and getattr(items[0], "ndim", 0) > 2:
        items = items[0]
    if hasattr(items, "ndim"):
        array = np.asarray(items)
        if not are_pictures(array):
            return [from_array(array, "the array")]
        rescale = rescaler([array])
        return [from_array(rescale(one), f"item {number}") for number, one in enumerate(array)]
    if not isinstance(items, (list, tuple)):
        raise BadItem(f"pictures cannot be a {type(items).__name__}; expected PIL images or arrays")
    return [read(one, f"item {number}") for number, one in enumerate(items)]


def from_array(array: Any, name: str) -> Image.Image:
    """Return one picture from `(H, W)`, `(H, W, 1|2|3|4)` or `(1|3|4, H, W)`: bool, uint8, uint16, or floats.

    Grey floats become a picture of floats, with their own range; colours have to lie in 0..1, and become 8 bit.
    Raises BadItem with `name` on another shape, type or range.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[-1] not in (1, 2, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (2, 3, 4))) or 0 in array.shape:
        raise BadItem(f"{name}: an array of shape {array.shape} is no picture; expected (H, W), (H, W, 3) or (3, H, W)")
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        return _from_floats(array, name)
    if array.dtype == np.uint16 and array.ndim == 3:
        array = np.rint(array / 257).astype(np.uint8)  # PIL holds 16 bits in grey only
    if array.dtype not in (np.uint8, np.uint16):
        raise BadItem(f"{name}: pixels have the type {array.dtype}; expected uint8, uint16 or floats in 0..1")
    return Image.fromarray(np.ascontiguousarray(array))


def _from_floats(array: Array, name: str) -> Image.Image:
    if not np.isfinite(array).all():
        raise BadItem(f"{name}: some pixels are not finite; replace them or remove it")
    if array.ndim == 2:
        return Image.fromarray(np.ascontiguousarray(array.astype(np.float32)))
    if not (array.min() >= 0 and array.max() <= 1):
        raise BadItem(f"{name}: float pixels of colours lie in {array.min():g}..{array.max():g}; expected 0..1")
    return Image.fromarray(np.ascontiguousarray(np.rint(array * 255).astype(np.uint8)))


def are_pictures(array: Array) -> bool:
    """Return whether an array holds pictures along its first axis, and is not one picture in colour."""
    return array.ndim == 4 or (array.ndim == 3 and array.shape[-1] not in (1, 3, 4))


def rescaler(arrays: Sequence[Array]) -> Callable[[Array], Array]:
    """Return a function that brings each picture in these arrays to bool, uint8, uint16 or [0, 1].

    The range is inferred once, from all of them. Raises UserError if it is none that pixels have.
    """
    if all(array.dtype in (np.uint8, np.uint16, bool) for array in arrays):
        return lambda array: array
    if all(np.issubdtype(array.dtype, np.floating) and array.ndim == 3 for array in arrays):
        return lambda array: array  # grey: the codec infers their range
    low, high = min(float(array.min()) for array in arrays), max(float(array.max()) for array in arrays)
    if all(np.issubdtype(array.dtype, np.integer) for array in arrays) and low >= 0 and high <= 65535:
        return lambda array: array.astype(np.uint8 if high <= 255 else np.uint16)
    if low >= 0 and high <= 1:
        return lambda array: array
    if low >= -1 and high <= 1:
        return lambda array: (array + 1) / 2
    if low >= 0 and high <= 255:
        return lambda array: array / 255
    raise UserError(f"the array's values lie in {low:g}..{high:g}; expected 0..255, 0..65535, 0..1 or -1..1")


def write(items: Iterable[Image.Image], folder: Path) -> list[Path]:
    """Write `00000.png` and so on, float pixels as `.tif`, each whole or not at all.

    Raises UserError where the disk refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"could not make the folder {folder}: {error.strerror}; choose another --out") from None
    paths = []
    for number, item in enumerate(items):
        suffix, kind = (".tif", "TIFF") if item.mode == "F" else (".png", "PNG")
        path = folder / f"{number:05d}{suffix}"
        with replacing(path) as temporary:
            item.save(temporary, format=kind)
        paths.append(path)
    return paths
