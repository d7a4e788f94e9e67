"""The first rows of a table, rendered as text on a picture."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .files import data_names, form_of
from .formats.column import ColumnFormat

_ROWS, _COLUMNS, _CHARACTERS = 25, 30, 18  # most rows and columns, and characters of a cell
_GAP, _LINE, _FONT = 10, 18, 13  # pixels


def render(table: Any) -> Image.Image:
    """Return a picture of the first rows, under the columns' names."""
    head = table.slice(0, _ROWS)
    names, formats = data_names(head)[:_COLUMNS], form_of(head).columns
    columns = [_cells(head.column(name), formats.get(name)) for name in names]
    lines = [names, *([_text(value) for value in row] for row in zip(*columns, strict=True))]
    font = ImageFont.load_default(_FONT)
    widths = [max(font.getlength(cell[:_CHARACTERS]) for cell in column) + _GAP for column in zip(*lines, strict=True)]
    canvas = Image.new("RGB", (round(sum(widths)) + _GAP, len(lines) * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        left = float(_GAP)
        for cell, width in zip(line, widths, strict=True):
            colour = "black" if number else "gray"
            draw.text((left, _GAP / 2 + number * _LINE), cell[:_CHARACTERS], fill=colour, font=font)
            left += width
    return canvas


def _cells(column: Any, written: ColumnFormat | None) -> list[Any]:
    """Return the cells of a column as they are written in a file, or as they are."""
    if written is None or not written.textual:
        return list(column.to_pylist())
    return [None if cell == written.missing else cell for cell in written.write(column).to_pylist()]


def _text(value: Any) -> str:
    if value is None:
        return "-"  # the default font has few characters
    return f"{value:.6g}" if isinstance(value, float) else str(value)
