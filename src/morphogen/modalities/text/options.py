"""How texts are encoded: the options of the text codec."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from morphogen.core.config import Frozen, ReadIf


class Options(Frozen):
    """How to encode texts; what is not set is inferred from them and reported."""

    read_if: ClassVar[tuple[ReadIf, ...]] = (ReadIf(("vocab",), "tokenizer", ("auto", "bpe")),)

    tokenizer: str = Field(
        "auto",
        description="auto, character, byte, bpe, or the path of a byte-level tokenizer.json; auto: character up to 200 "
        "distinct characters, else bpe from 5 MB of text, else byte",
    )
    vocab: int = Field(1024, ge=257, le=262_144, description="most tokens of bpe, its 256 bytes included")
    context: int | None = Field(
        None,
        ge=4,
        le=65_536,
        description="tokens of a document that are read at once; else those of the longest, but at most 256",
    )
