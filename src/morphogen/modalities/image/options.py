"""How pictures are encoded: the options of the picture codec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from morphogen.core.config import Frozen


class Options(Frozen):
    """How to encode pictures; what is not set is inferred from them and reported."""

    size: int | None = Field(None, ge=4, le=4096, description="side of the square pictures, in pixels; else inferred")
    mode: Literal["auto", "L", "RGB"] = Field("auto", description="grey (L) or colour (RGB); auto looks at the pixels")
    resize: Literal["auto", "crop", "pad", "stretch"] = Field(
        "auto", description="how a picture of another shape is made to fit; auto crops the centre where shapes differ"
    )
    bits: Literal["auto", 8, 16] = Field("auto", description="bits per channel; auto keeps 16 for grey 16-bit pictures")
    background: str = Field("white", description="colour behind transparent pixels, a name or #rrggbb")
    levels: int = Field(256, ge=2, le=65536, description="grey levels of pictures as tokens")
