"""Pretrained extractors by name, and what they share: reading files of weights, and pictures in colour."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from morphogen.core.errors import BadItem, UserError, unknown
from morphogen.core.extractor import Extractor
from morphogen.modalities.image.pixels import plain, recast

NAMES = {"inception-2015": "image", "dinov2": "image", "clip": "image", "minilm": "text"}  # and what each reads


def open_pretrained(name: str, weights: Path | str | None) -> Extractor[Any]:
    """The extractor of that name with these weights; None fetches the published ones, or finds them in the cache.

    Raises UserError on an unknown name, on weights that are missing or do not fit, and without a network.
    """
    if name not in NAMES:
        raise unknown("extractor", name, NAMES)
    # Only the one named is imported: transformers alone takes seconds.
    if name == "inception-2015":
        from .inception_2015 import open_inception

        return open_inception(None if weights is None else Path(weights))
    from . import hub

    openers: dict[str, Callable[[Path | str | None], Extractor[Any]]] = {
        "dinov2": hub.open_dinov2,
        "clip": hub.open_clip,
        "minilm": hub.open_minilm,
    }
    return openers[name](weights)


def digest(path: Path) -> str:
    """The SHA-256 of a file, in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors(path: Path, advice: str) -> dict[str, Tensor]:
    """Names and values in a file of weights, .safetensors or torch's own; floats in single precision.

    Nothing in the file is executed. Raises UserError that ends in `advice` where it is missing, damaged or holds
    anything else.
    """
    if not path.is_file():
        raise UserError(f"there is no file of weights {path}; {advice}")
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises anything at all on damaged bytes
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"{path} is no readable file of weights ({reason}); {advice}") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{path} holds a {type(found).__name__}; expected tensors by name; {advice}")
    return {str(name): value.float() if value.is_floating_point() else value for name, value in found.items()}


def coloured(image: Image.Image) -> Image.Image:
    """A picture of any mode as 8-bit RGB, upright; what is transparent is white. Raises BadItem where it is damaged."""
    try:
        return recast(plain(image, "white"), "RGB")
    except OSError as error:  # one that was opened and not yet decoded
        raise BadItem(f"a picture is damaged or truncated ({error}); remove it or fetch it again") from None
