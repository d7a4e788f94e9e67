"""The report of an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from ...core.config import replacing
from ...modalities.image.pixels import plain, recast
from ..results import ColumnResult, Evaluation, Figure
from . import charts
from .material import Material, Pair

Sheet = Callable[[Sequence[Any]], Image.Image]

_ITEMS = {"image": "pictures", "text": "texts", "table": "rows"}
_GROUPS = {
    "likeness": "Likeness: are they like real ones?",
    "variety": "Variety: is everything there that real ones show?",
    "copying": "Copying: are they training items again?",
    "privacy": "Privacy: do they tell who was in the training data?",
    "likelihood": "Likelihood: how probable does the model find real ones?",
    "usefulness": "Usefulness: can they stand in for real ones?",
    "properties": "Properties that can be counted",
}
_SHEET, _THUMB, _COARSE = (3200, 8000), (320, 320), 100  # pixels; of pictures below the last, each is to be seen
_LOSSLESS = 200_000  # bytes of a PNG, beyond which WebP takes less
_LETTERS, _CELL, _AROUND, _SPAN = 900, 120, 200, 3000  # shown of a text, a cell, around a copied span, and of it


@dataclass(frozen=True)
class Picture:
    """What an `<img>` needs; `coarse`: it is enlarged, and its pixels are to stay squares."""

    uri: str
    width: int
    height: int
    coarse: bool


@dataclass(frozen=True)
class Block:
    """Figures that may stand in one table: of one group, read by one extractor."""

    extractor: str | None
    figures: list[Figure]


@dataclass(frozen=True)
class Cell:
    """A value of two rows that are compared."""

    column: str
    generated: str
    nearest: str

    @property
    def equal(self) -> bool:
        return self.generated == self.nearest


def write_report(
    file: Path, evaluation: Evaluation, material: Material, *, modality_sheet: Sheet | None = None
) -> None:
    """Write `report.html`, whole or not at all; see `render`."""
    page = render(evaluation, material, modality_sheet=modality_sheet)
    with replacing(file) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def render(evaluation: Evaluation, material: Material, *, modality_sheet: Sheet | None = None) -> str:
    """The page. `modality_sheet` draws items that are no picture, text or row: those of a modality of a plug-in."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": charts.number, "words": words, "duration": duration}
    pairs = [drawn(pair, modality_sheet) for pair in material.pairs]
    rows = [pair for pair in pairs if isinstance(pair.generated, Mapping) and isinstance(pair.nearest, Mapping)]
    return environment.get_template("report.html.jinja").render(
        evaluation=evaluation,
        shown=material.shown,
        items=_ITEMS.get(evaluation.modality, "items"),
        checks=sorted(evaluation.checks, key=lambda check: (not check.found, not check.fault)),
        sheets=sheets(material),
        groups=groups(evaluation.figures),
        bar=charts.bar,
        pictures=[pair for pair in pairs if isinstance(pair.generated, Picture)],
        texts=[pair for pair in pairs if isinstance(pair.generated, str)],
        rows=[(pair.ratio, compared(pair)) for pair in rows],
        copied=[
            (before[-_AROUND:], cut(span, _SPAN), after[:_AROUND], len(span)) for before, span, after in material.copied
        ],
        columns=sorted(evaluation.columns, key=_lack, reverse=True),
        distributions=[(one.name, charts.distribution(one)) for one in material.distributions if one.bins],
        curves=[(one.name, chart) for one in material.curves if (chart := charts.curve(one))],
    )


def groups(figures: Sequence[Figure]) -> list[tuple[str, str, list[Block]]]:
    """Groups in their order, with their headings; of each, the figures of each extractor by themselves."""
    found = []
    for group, heading in _GROUPS.items():
        inside = [figure for figure in figures if figure.group == group]
        extractors = dict.fromkeys(figure.extractor for figure in inside)
        if inside:
            blocks = [Block(name, [one for one in inside if one.extractor == name]) for name in extractors]
            found.append((group, heading, blocks))
    return found


def sheets(material: Material) -> list[tuple[str, Picture]]:
    """The sheets that there are, and what is on them."""
    sides = (("generated", material.generated), ("real", material.real))
    return [(name, picture(sheet, _SHEET)) for name, sheet in sides if sheet is not None]


def picture(image: Image.Image, most: tuple[int, int]) -> Picture:
    """A picture as part of the page: as PNG, or as WebP where that is large; at most so many pixels wide and high."""
    image = plain(image, "white").copy()
    if image.mode == "I;16":
        image = recast(image, "L")
    image.thumbnail(most)
    kind, data = "png", _encoded(image, "PNG", optimize=True)
    if len(data) > _LOSSLESS:
        kind, data = "webp", _encoded(image, "WEBP", quality=85)
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(uri, image.width, image.height, max(image.size) < _COARSE)


def drawn(pair: Pair, modality_sheet: Sheet | None = None) -> Pair:
    """A pair whose items are what the page can show: pictures, texts, or cells by their columns."""

    def side(item: Any) -> Any:
        if isinstance(item, Image.Image):
            return picture(item, _THUMB)
        if isinstance(item, Mapping):
            return {str(name): cut(words(value), _CELL) for name, value in item.items()}
        if isinstance(item, str) or modality_sheet is None:
            return cut(str(item), _LETTERS)
        return picture(modality_sheet([item]), _THUMB)

    return Pair(side(pair.generated), side(pair.nearest), pair.ratio)


def compared(pair: Pair) -> list[Cell]:
    """Two drawn rows, cell by cell."""
    return [Cell(name, value, pair.nearest.get(name, "–")) for name, value in pair.generated.items()]


def cut(text: str, most: int) -> str:
    """The beginning of a text that is longer."""
    return text if len(text) <= most else f"{text[:most]} … and {len(text) - most:,} more characters"


def words(value: Any) -> str:
    """A setting or a cell as a person writes it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        text = format(value, ".12g" if isinstance(value, float) else "d")
        return text.replace("inf", "∞").replace("-", "−")
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {words(one)}" for name, one in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(words(one) for one in value) or "–"
    return str(value)


def duration(seconds: float) -> str:
    """How long something took, in the two largest units."""
    if seconds < 60:
        return f"{charts.number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _lack(column: ColumnResult) -> float:
    """How far a column stays below what real rows get."""
    trend = (column.trend_ceiling or 0) - column.trend if column.trend is not None else 0.0
    return max(column.shape_ceiling - column.shape, trend)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
