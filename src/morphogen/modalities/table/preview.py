"""The first rows of a table, rendered as text on a picture."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .files import data_names, form_of
from .formats.column import ColumnFormat

_ROWS, _COLUMNS, _CHARACTERS = 25, 30, 18  # most rows and columns, and characters of a cell
_GAP, _LINE, _SIZE = 10, 18, 13  # pixels
_FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf")  # of the system, if any


def render(table: Any) -> Image.Image:
    """Return a picture of the first rows, under the columns' names."""
    head = table.slice(0, _ROWS)
    names, formats = data_names(head)[:_COLUMNS], form_of(head).columns
    columns = [_cells(head.column(name), formats.get(name)) for name in names]
    font, plain = _font()
    rows = [names, *([_text(value) for value in row] for row in zip(*columns, strict=True))]
    lines = [[drawable(cell[:_CHARACTERS], plain) for cell in row] for row in rows]
    widths = [max(font.getlength(cell) for cell in column) + _GAP for column in zip(*lines, strict=True)]
    canvas = Image.new("RGB", (round(sum(widths)) + _GAP, len(lines) * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        left = float(_GAP)
        for cell, width in zip(line, widths, strict=True):
            colour = "black" if number else "gray"
            draw.text((left, _GAP / 2 + number * _LINE), cell, fill=colour, font=font)
            left += width
    return canvas


def _cells(column: Any, written: ColumnFormat | None) -> list[Any]:
    """Return the cells of a column as they are written in a file, or as they are."""
    if written is None or not written.textual:
        return list(column.to_pylist())
    return [None if cell == written.missing else cell for cell in written.write(column).to_pylist()]


@cache
def _font() -> tuple[Any, bool]:
    """Return a font, and whether it is PIL's own, which has ASCII only."""
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, _SIZE), False
        except OSError:
            continue
    return ImageFont.load_default(_SIZE), True


def drawable(text: str, plain: bool) -> str:
    """Return the text without control characters, with `plain` without accents and with `?` for other alphabets."""
    text = "".join(one if one.isprintable() else "?" for one in text)
    if not plain:
        return text
    letters = [one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one)]
    return "".join(letters).encode("ascii", "replace").decode()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
