"""The grade as gauges: how often a classifier recognises a generated item, and how far items are as a whole."""

from __future__ import annotations

from markupsafe import Markup

from ...core.results import Figure
from .axes import Scale

_WIDTH, _HEIGHT, _LINE = 320, 40, 12  # pixels, and where the line lies
_INSET = 8


def area_gauge(area: Figure | None) -> Markup:
    """Return the area under the ROC curve with its interval on a line from 50 to 100 %; empty where there is none."""
    if area is None:
        return Markup("")
    title = f"recognised in {area.value:.0%} of cases, between guessing (50 %) and always (100 %)"
    return _gauge(area, Scale(0.5, 1.0, _INSET, _WIDTH - _INSET), title, ("guessing", "always recognised"))


def distance_gauge(distance: Figure | None) -> Markup:
    """Return the relative Fréchet distance on a line from real items to visibly damaged ones; empty without one."""
    if distance is None:
        return Markup("")
    title = f"{distance.value:.0%} of the way from real items to visibly damaged ones"
    return _gauge(
        distance, Scale(0.0, 1.0, _INSET, _WIDTH - _INSET), title, ("like real as a whole", "visibly damaged")
    )


def _gauge(figure: Figure, scale: Scale, title: str, ends: tuple[str, str]) -> Markup:
    low, value, high = (
        min(max(scale(figure.value if one is None else one), _INSET), _WIDTH - _INSET)
        for one in (figure.low, figure.value, figure.high)
    )
    return Markup(
        f'<svg class="gauge" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{title}</title>'
        f'<line class="track" x1="{_INSET}" x2="{_WIDTH - _INSET}" y1="{_LINE}" y2="{_LINE}"/>'
        f'<rect class="interval" x="{low:.1f}" y="{_LINE - 5}" width="{max(2.0, high - low):.1f}" height="10" rx="2"/>'
        f'<circle class="value" cx="{value:.1f}" cy="{_LINE}" r="6"/>'
        f'<text x="{_INSET}" y="{_HEIGHT - 4}">{ends[0]}</text>'
        f'<text x="{_WIDTH - _INSET}" y="{_HEIGHT - 4}" text-anchor="end">{ends[1]}</text></svg>'
    )
