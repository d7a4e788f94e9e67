"""How text becomes symbols: the options of the text codec."""

from __future__ import annotations

from pydantic import Field

from morphogen.core.config import Frozen

FAMILY = "autoregressive"  # what is fitted where no family is named


class Options(Frozen):
    """What a user may decide about text; what is left open is inferred and said aloud."""

    tokenizer: str = Field(
        "auto",
        description="auto, character, byte, bpe, or the path of a byte-level tokenizer.json; auto: character where at "
        "most 200 are different, else bpe of more than 5 MB of text, else byte",
    )
    vocab: int = Field(1024, ge=257, le=262_144, description="symbols that bpe learns at most, its 256 bytes included")
    context: int | None = Field(
        None,
        ge=4,
        le=65_536,
        description="symbols of a document that are read at once; else those of the longest, but at most 256",
    )
