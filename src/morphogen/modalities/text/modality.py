"""Texts: documents of any length, encoded by characters, bytes or byte-level BPE. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from morphogen.core.modality import Modality, Parts, Record
from morphogen.core.space import Space, TokenSequence

from .mask import Mask, Spans, find_spans
from .options import Options
from .query import Query

if TYPE_CHECKING:
    from PIL import Image

    from morphogen.core.codec import Codec
    from morphogen.core.judge import Judge

_LONG = 40  # characters of a string, on average, from which on a column is taken for texts


class TextModality(Modality[list[str]]):
    """Documents as strings."""

    name = "text"
    noun, plural = "text", "texts"
    spaces: ClassVar[tuple[type[Space], ...]] = (TokenSequence,)
    default_family = "autoregressive"
    streams = True
    Options, Query, Mask = Options, Query, Mask
    accepts: ClassVar[dict[str, str]] = {
        "file": ".txt, .md",
        "cells": "strings of 40 characters or more",
        "object": "a str",
    }
    fits_to_all = True  # or a rare character would have no token

    def claims(self, record: Record) -> float:
        from .files import SUFFIXES

        if record.kind == "file":  # a string may name no file but be a text itself
            return 0.95 if record.name.lower().endswith(SUFFIXES) and record.example.exists() else 0.0
        if record.kind == "object":
            return 0.9 if isinstance(record.example, str) else 0.0
        if record.kind != "cells":
            return 0.0
        strings = [cell for cell in record.example if isinstance(cell, str)]
        if len(strings) < 0.9 * len(record.example):
            return 0.1 if isinstance(record.example[0], bytes) else 0.0
        if record.name == self.name:
            return 0.9
        length = sum(map(len, strings)) / len(strings)
        return min(0.6 + length / 1e5, 0.8) if length >= _LONG else 0.1 + min(length, _LONG) / 1e4

    def read(self, raw: Any, name: str) -> str:
        from .files import read

        return read(raw, name)

    def split(self, file: Path, separator: str | None) -> Parts:
        """Return the documents of one text file; `separator` is line, blank, none, or a text between documents."""
        from .documents import split_file

        return split_file(file, separator)

    def write(self, parts: Iterable[list[str]], folder: Path) -> list[Path]:
        from .files import write

        return write(chain.from_iterable(parts), folder)

    def fit(self, chunks: Iterable[list[str]], kind: type[Space], options: Any) -> Codec[list[str]]:
        from .codec import TextCodec

        return TextCodec.fit(chunks, kind, options)

    def load_codec(self, folder: Path) -> Codec[list[str]]:
        from .codec import TextCodec

        return TextCodec.load(folder)

    def preview(self, items: list[str]) -> Image.Image:
        from .preview import sheet

        return sheet(items)

    def judge(self) -> Judge[Any]:
        from .judge import JUDGE

        return JUDGE

    def mask(self, items: list[str], mask: Any) -> list[Spans]:
        return find_spans(items, mask)

    def weigh(self, item: str) -> int:
        return sys.getsizeof(item)


MODALITY = TextModality()
