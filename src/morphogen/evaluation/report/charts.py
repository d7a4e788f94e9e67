"""Charts as inline SVG: a figure beside its references, and two distributions. The page sets the colours."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from ...core.results import Distribution, Figure
from .axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, grid, is_wide, label, number, steps, svg, tick_text

_BAR, _INSET, _MARGIN, _MIDDLE = 240, 24, 6, 13  # pixels: a bar's width, its ends, how far a band goes, and the line
_LETTER = 6.2  # pixels of a small one, on average
_ROWS, _NAME = 12, 17  # categories with a row of their own, and characters of their names


def bar_scale(figure: Figure) -> Scale | None:
    """Return the scale from the baseline at the left to real data at the right; None: there is neither.

    Right is better, even where the baseline is better than real data. Without two ends that differ, zero is one, or the
    value would always be at an end.
    """
    value, baseline, real_data = figure.value, finite(figure.baseline), finite(figure.real_data)
    low, high = finite(figure.low), finite(figure.high)
    ends = [one for one in (baseline, real_data) if one is not None]
    if finite(value) is None or not ends:
        return None
    shown = [value, *ends]
    two = baseline is not None and real_data is not None and baseline != real_data
    if not two:
        shown += [one for one in (low, high) if one is not None]
    log = is_wide(shown)
    if not two and not log:
        shown.append(0.0)
    least, most = min(shown), max(shown)
    if figure.better == "near":
        downwards = baseline is not None and real_data is not None and baseline > real_data
    else:
        downwards = figure.better == "lower"
    start, end = (most, least) if downwards else (least, most)
    return Scale(start, end, _INSET, _BAR - _INSET, log)


def is_inverted(figure: Figure) -> bool:
    """Return whether the independent baseline is better than real data."""
    baseline, real_data = finite(figure.baseline), finite(figure.real_data)
    if baseline is None or real_data is None or figure.better == "near":
        return False
    return baseline < real_data if figure.better == "lower" else baseline > real_data


def bar(figure: Figure) -> Markup:
    """Return a figure with its interval between baseline and real data; empty where there is neither."""
    scale = bar_scale(figure)
    if scale is None:
        return Markup("")
    parts = [f'<line class="track" x1="{_INSET}" x2="{_BAR - _INSET}" y1="{_MIDDLE}" y2="{_MIDDLE}"/>']
    baseline, real_data, low, high = (
        finite(one) for one in (figure.baseline, figure.real_data, figure.low, figure.high)
    )
    if low is not None and high is not None:
        edges = sorted(min(max(scale(one), _MARGIN), _BAR - _MARGIN) for one in (low, high))
        width = edges[1] - edges[0]
        parts.append(
            f'<rect class="interval" x="{edges[0]:.2f}" y="{_MIDDLE - 4}" width="{width:.2f}" height="8" rx="2"/>'
        )
    for kind, at, half in (("baseline", baseline, 6), ("real-data", real_data, 10)):
        if at is not None:
            x = f"{scale(at):.2f}"
            parts.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="{_MIDDLE - half}" y2="{_MIDDLE + half}"/>')
    parts.append(f'<circle class="value" cx="{scale(figure.value):.2f}" cy="{_MIDDLE}" r="5"/>')
    notes = ["the baseline is better"] if is_inverted(figure) else []
    if scale.log:
        notes.append("log scale")
    if notes:
        parts.append(f'<text x="{_BAR / 2:.0f}" y="{_MIDDLE + 20}" text-anchor="middle">{", ".join(notes)}</text>')
    elif 0.0 in (scale.start, scale.end) and 0.0 not in (baseline, real_data):
        parts.append(f'<text x="{scale(0.0):.2f}" y="{_MIDDLE + 20}" text-anchor="middle">0</text>')
    return svg("bar", _BAR, 36, _alternative(figure), parts)


def distribution(one: Distribution) -> Markup:
    """Return shares of real and of generated items: bars over bins of a number, or one row for each category."""
    real, generated = ([_share(value) for value in side] for side in (one.real, one.generated))
    title = f"{one.name}: shares of real and of generated items in {len(one.bins)} bins"
    if not one.bins:
        return Markup("")
    numeric = sum(name.lstrip("([<>≤≥=~−-+. ")[:1].isdigit() for name in one.bins)
    if 2 * numeric > len(one.bins):  # the others are names such as `missing`
        return svg("chart", WIDTH, HEIGHT, title, _columns(one.bins, real, generated))
    rows = list(zip(one.bins, real, generated, strict=True))
    if len(rows) > _ROWS:
        rows.sort(key=lambda row: -row[1] - row[2])
        rest = rows[_ROWS - 1 :]
        others = (f"{len(rest)} others", sum(row[1] for row in rest), sum(row[2] for row in rest))
        rows = [*rows[: _ROWS - 1], others]
    return svg("chart", WIDTH, 16 * len(rows) + 24, title, _rows(rows))


def finite(value: float | None) -> float | None:
    """Return the value, or None where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def _alternative(figure: Figure) -> str:
    """Return a bar in words."""
    parts = [f"value {number(figure.value)}"]
    if figure.low is not None and figure.high is not None:
        parts.append(f"95 % interval {number(figure.low)} to {number(figure.high)}")
    references = (("baseline", figure.baseline), ("real data", figure.real_data))
    parts += [f"{name} {number(value)}" for name, value in references if value is not None]
    return f"{figure.name}: " + ", ".join(parts)


def _columns(names: Sequence[str], real: Sequence[float], generated: Sequence[float]) -> list[str]:
    ticks = steps(0.0, max(*real, *generated) or 1.0, 4)
    y = Scale(0.0, max(ticks[-1], *real, *generated), HEIGHT - BOTTOM, TOP)
    parts = grid(ticks, y)
    wide = (WIDTH - LEFT - RIGHT) / len(names)
    for at, (name, one, other) in enumerate(zip(names, real, generated, strict=True)):
        left = LEFT + at * wide
        parts.append(f"<g><title>{escape(_pair(name, one, other))}</title>")
        for kind, share, part in (("real", one, 0.9), ("generated", other, 0.4)):
            x, top = left + wide * (1 - part) / 2, y(share)
            height = y.left - top
            parts.append(
                f'<rect class="{kind}" x="{x:.2f}" y="{top:.2f}" width="{wide * part:.2f}" height="{height:.2f}"/>'
            )
        parts.append("</g>")
    stride = math.ceil((max(len(_cut(name)) for name in names) + 1) * _LETTER / wide)
    for at in range(0, len(names), stride):
        parts.append(label(LEFT + (at + 0.5) * wide, HEIGHT - BOTTOM + 15, _cut(names[at]), "middle"))
    return parts


def _rows(rows: Sequence[tuple[str, float, float]]) -> list[str]:
    left, bottom = 118, 16 * len(rows) + 4
    most = max(max(one, other) for _, one, other in rows) or 1.0
    ticks = steps(0.0, most, 3)
    x = Scale(0.0, max(ticks[-1], most), left, WIDTH - RIGHT - 8)
    parts = []
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.2f}" x2="{x(tick):.2f}" y1="2" y2="{bottom}"/>')
        parts.append(label(x(tick), bottom + 14, tick_text(tick), "middle"))
    for at, (name, one, other) in enumerate(rows):
        top = 4 + 16 * at
        parts.append(f"<g><title>{escape(_pair(name, one, other))}</title>")
        parts.append(label(left - 6, top + 10, _cut(name), "end"))
        for kind, share, height in (("real", one, 13), ("generated", other, 5)):
            y, width = top + (13 - height) / 2, x(share) - left
            parts.append(f'<rect class="{kind}" x="{left}" y="{y:.1f}" width="{width:.2f}" height="{height}"/>')
        parts.append("</g>")
    return parts


def _share(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0


def _pair(name: str, real: float, generated: float) -> str:
    return f"{name}: real {number(real)}, generated {number(generated)}"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
