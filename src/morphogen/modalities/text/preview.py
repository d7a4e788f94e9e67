"""A preview of texts: their beginnings, in panels on one picture."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

_WIDTH, _LINES = 56, 14  # of a panel, in characters
_PANELS, _SHOWN = 16, 100  # panels of long texts, and lines in all of short ones
_GAP, _LEADING = 10, 3  # pixels around a panel, and between lines
_FONTS = ("DejaVuSansMono.ttf", "LiberationMono-Regular.ttf", "Menlo.ttc", "consola.ttf")  # of the system, if any
_SIZE = 13


def sheet(items: Sequence[str]) -> Image.Image:
    """Return one picture with the beginnings of 16 texts, or of more short ones; `?` stands for other characters."""
    font, plain = _font()
    panels = [_wrapped(item, plain) for item in items[:_SHOWN]] or [[""]]
    tall = max(len(lines) for lines in panels[:_PANELS])
    panels = [lines[:tall] for lines in panels[: max(_PANELS, _SHOWN // tall)]]
    wide = max(font.getlength(line) for lines in panels for line in lines)
    step = sum(font.getbbox("Ág")[1::2]) + _LEADING
    across, down = max(60, math.ceil(wide)) + 2 * _GAP, math.ceil(tall * step) + 2 * _GAP
    columns = round(math.sqrt(len(panels) * down / across))  # about as wide as tall
    columns = max(1, min(columns, len(panels)))
    rows = math.ceil(len(panels) / columns)
    canvas = Image.new("RGB", (columns * across + 1, rows * down + 1), "white")
    draw = ImageDraw.Draw(canvas)
    for number, lines in enumerate(panels):
        top, left = number // columns * down, number % columns * across
        draw.rectangle((left, top, left + across, top + down), outline="#cccccc")
        for row, line in enumerate(lines):
            draw.text((left + _GAP, top + _GAP + row * step), line, fill="black", font=font)
    return canvas


def _wrapped(text: str, plain: bool) -> list[str]:
    """Return at most `_LINES` lines of a panel, with `plain` in Latin-1 only."""
    beginning = text[: _WIDTH * _LINES].expandtabs(4)
    lines = [
        part
        for line in beginning.split("\n")
        for part in textwrap.wrap(line, _WIDTH, replace_whitespace=False, drop_whitespace=False) or [""]
    ]
    if len(lines) > _LINES or len(text) > _WIDTH * _LINES:
        lines = [*lines[: _LINES - 1], "..."]
    lines = ["".join(one if one.isprintable() else "?" for one in line) for line in lines]
    return [line.encode("latin-1", "replace").decode("latin-1") for line in lines] if plain else lines


@cache
def _font() -> tuple[Any, bool]:
    """Return a monospaced font, and whether it is PIL's own, which has Latin-1 only."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, _SIZE), False
        except OSError:
            continue
    return ImageFont.load_default_imagefont(), True
