"""Looking at tables: the first rows, as text on a picture."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .files import from_frame

_ROWS, _CELL, _GAP, _LINE, _FONT = 25, 18, 10, 18, 13  # rows, characters of a cell, and pixels
_WIDE = 30  # columns


def sheet(items: Any) -> Image.Image:
    """The first rows of a table, under its columns' names."""
    head = from_frame(items).slice(0, _ROWS)
    names = head.column_names[:_WIDE]
    cells = [names, *([_text(head.column(name)[row].as_py()) for name in names] for row in range(head.num_rows))]
    font = ImageFont.load_default(_FONT)
    widths = [max(font.getlength(row[column][:_CELL]) for row in cells) + _GAP for column in range(len(names))]
    canvas = Image.new("RGB", (round(sum(widths)) + _GAP, len(cells) * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, row in enumerate(cells):
        left = float(_GAP)
        for cell, width in zip(row, widths, strict=True):
            draw.text((left, _GAP / 2 + number * _LINE), cell[:_CELL], fill="black" if number else "gray", font=font)
            left += width
    return canvas


def _text(value: Any) -> str:
    if value is None:
        return "-"  # the font has few signs
    return f"{value:.6g}" if isinstance(value, float) else str(value)
