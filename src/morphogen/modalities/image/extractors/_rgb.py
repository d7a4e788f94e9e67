"""Pictures as published networks read them."""

from __future__ import annotations

from PIL import Image

from morphogen.core.errors import BadItem, one_line

from ..pixels import plain, recast


def as_rgb(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as 8-bit RGB, upright, on white. Raises BadItem where it is damaged."""
    try:
        return recast(plain(image, "white"), "RGB")
    except OSError as error:  # a picture that was opened and not yet decoded
        raise BadItem(f"a picture is damaged or truncated ({one_line(error)}); remove it or fetch it again") from None
