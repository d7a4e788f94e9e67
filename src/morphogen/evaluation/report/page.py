"""The report of an evaluation: one self-contained HTML file."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from ...core.config import replacing
from ...core.results import ColumnResult, Figure, Pair
from ..relative import KEY
from ..results import Evaluation
from . import axes, charts, courses
from .gauge import area_gauge, distance_gauge
from .heat_map import heat_map
from .material import Material

_GROUPS = {
    "fidelity": "Fidelity: do generated items resemble real ones?",
    "variety": "Variety: does everything occur that occurs in real data?",
    "copying": "Copying: are generated items copies of training items?",
    "privacy": "Privacy: do they reveal which items are in the training data?",
    "likelihood": "Likelihood: how probable are held-out items under the model?",
    "utility": "Utility: can generated items replace real ones?",
    "properties": "Plain properties",
}
_PREVIEW, _THUMB = (3200, 8000), (320, 320)  # most pixels
_NARROW = 500  # pixels, up to which pictures of text stand beside each other
_COARSE = 100  # pixels; smaller pictures are enlarged without smoothing
_LOSSLESS = 200_000  # bytes of a PNG, beyond which WebP takes less
_LETTERS, _CELL = 900, 120  # most characters of a text, and of a cell
_SPAN, _AROUND = 3000, 200  # most characters of a copied span, and before and after it


@dataclass(frozen=True)
class Picture:
    """The attributes of an `<img>`; `coarse`: it is enlarged without smoothing."""

    uri: str
    width: int
    height: int
    coarse: bool


@dataclass(frozen=True)
class Block:
    """The figures of one table: of one group, under one extractor."""

    extractor: str | None
    figures: list[Figure]


@dataclass(frozen=True)
class Cell:
    """One named value of two items that are compared."""

    column: str
    generated: str
    nearest: str

    @property
    def equal(self) -> bool:
        return self.generated == self.nearest


def write_report(file: Path, evaluation: Evaluation, material: Material) -> None:
    """Write `report.html`, whole or not at all."""
    page = render(evaluation, material)
    with replacing(file) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def render(evaluation: Evaluation, material: Material) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": axes.number, "words": words, "duration": duration, "plain_name": plain_name}
    pairs, shown = [rendered(pair) for pair in material.pairs], previews(material)
    rows = [pair for pair in pairs if isinstance(pair.generated, Mapping) and isinstance(pair.nearest, Mapping)]
    return environment.get_template("report.html.jinja").render(
        evaluation=evaluation,
        items=material.plural,
        preview_text=material.preview_text,
        checks=evaluation.checks,
        real_shown=material.show_real,
        gauges=area_gauge(evaluation.figure("two_sample")) + distance_gauge(evaluation.figure(KEY)),
        heat_map=heat_map(evaluation.dependences),
        previews=shown,
        beside=not material.preview_text or max((one.width for _, _, one in shown), default=0) <= _NARROW,
        groups=groups(evaluation.figures),
        bar=charts.bar,
        pictures=[pair for pair in pairs if isinstance(pair.generated, Picture)],
        texts=[pair for pair in pairs if isinstance(pair.generated, str)],
        rows=[(pair.ratio, compared(pair)) for pair in rows],
        copied=[
            (one.before[-_AROUND:], cut(one.span, _SPAN), one.after[:_AROUND], len(one.span))
            for one in material.copied_spans
        ],
        columns=sorted(evaluation.columns, key=_loss, reverse=True),
        distributions=[(one.name, charts.distribution(one)) for one in material.distributions if one.bins],
        profiles=[(one.name, chart) for one in material.profiles if (chart := courses.profile(one))],
        curves=[(one.name, chart) for one in material.curves if (chart := courses.curve(one))],
    )


def groups(figures: Sequence[Figure]) -> list[tuple[str, str, list[Block]]]:
    """Return the groups with their headings, and the figures of each by extractor."""
    sections = []
    for group, heading in _GROUPS.items():
        inside = [figure for figure in figures if figure.group == group]
        extractors = dict.fromkeys(figure.extractor for figure in inside)
        if inside:
            blocks = [Block(name, [one for one in inside if one.extractor == name]) for name in extractors]
            sections.append((group, heading, blocks))
    return sections


def previews(material: Material) -> list[tuple[str, str, Picture]]:
    """Return the previews, each with a kind and a caption."""
    captions = (
        ("generated", "The first ones, not selected", material.generated),
        ("real", f"Real {material.plural}, held out", material.real),
        ("generated", "Most like real ones to a classifier", material.convincing),
        ("generated", "Recognised most easily", material.unconvincing),
    )
    return [(kind, caption, picture(image, _PREVIEW)) for kind, caption, image in captions if image is not None]


def picture(image: Image.Image, most: tuple[int, int]) -> Picture:
    """Return a picture in the page: PNG, or WebP where that is large; at most so many pixels wide and high."""
    image = image.copy() if image.mode in ("L", "RGB") else image.convert("RGB")
    image.thumbnail(most)
    kind, data = "png", _encoded(image, "PNG", optimize=True)
    if len(data) > _LOSSLESS:
        kind, data = "webp", _encoded(image, "WEBP", quality=85)
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(uri, image.width, image.height, max(image.size) < _COARSE)


def rendered(pair: Pair) -> Pair:
    """Return a pair as the page shows it: pictures, strings, or values by name."""

    def side(item: Any) -> Any:
        if isinstance(item, Image.Image):
            return picture(item, _THUMB)
        if isinstance(item, Mapping):
            return {str(name): cut(words(value), _CELL) for name, value in item.items()}
        return cut(str(item), _LETTERS)

    return Pair(side(pair.generated), side(pair.nearest), pair.ratio)


def compared(pair: Pair) -> list[Cell]:
    """Return two rendered items, value by value."""
    return [Cell(name, value, pair.nearest.get(name, "–")) for name, value in pair.generated.items()]


def cut(text: str, most: int) -> str:
    """Return a text, or the beginning of one that is longer."""
    return text if len(text) <= most else f"{text[:most]} … and {len(text) - most:,} more characters"


def plain_name(name: str, extractor: str | None) -> str:
    """Return the name of a figure without the extractor in brackets: the table's caption names that."""
    return name.removesuffix(f"[{extractor}]")


def words(value: Any) -> str:
    """Return a setting or a value as text."""
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
    """Return a duration in its two largest units."""
    if seconds < 60:
        return f"{axes.number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _loss(column: ColumnResult) -> float:
    """Return how far a column is below real data, or below 1 where that was not measured."""
    shape, trend = ((1.0 if one is None else one) for one in (column.shape_real_data, column.trend_real_data))
    return max(shape - column.shape, trend - column.trend if column.trend is not None else 0.0)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
