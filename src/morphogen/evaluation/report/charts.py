"""Charts as inline SVG: a figure beside its references, two distributions, a curve. The page sets the colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ...core.results import Distribution, Figure
from .material import Curve

_WIDE_RANGE = 100  # ratio of positive numbers from which on a scale is logarithmic
_BAR, _INSET, _MARGIN, _MIDDLE = 240, 24, 6, 13  # pixels: a bar's width, its ends, how far a band goes, and the line
_WIDTH, _HEIGHT = 320, 190  # of a chart
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 34  # around its plot
_LETTER = 6.2  # pixels of a small one, on average
_ROWS, _NAME = 12, 17  # categories with a row of their own, and characters of their names
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None) -> str:
    """Return three significant digits, or all before the point; a dash for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size and not 1e-3 <= size < 1e7:
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    elif value == int(value):
        text = f"{int(value):,}"
    else:
        decimals = max(0, 2 - math.floor(math.log10(float(f"{size:.3g}"))))
        text = f"{value:,.{decimals}f}"
    return text.replace("-", "−")


@dataclass(frozen=True)
class Scale:
    """From values to pixels: `start` lies at `left`, `end` at `right`."""

    start: float
    end: float
    left: float
    right: float
    log: bool = False

    def __call__(self, value: float) -> float:
        start, end, at = (self._position(one) for one in (self.start, self.end, value))
        if start == end:
            return (self.left + self.right) / 2
        return self.left + (at - start) / (end - start) * (self.right - self.left)

    def _position(self, value: float) -> float:
        if not self.log:
            return value
        return math.log10(value) if value > 0 else -math.inf


def is_wide(values: Sequence[float]) -> bool:
    """Return whether such values need a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > _WIDE_RANGE


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
    return _svg("bar", _BAR, 36, _alternative(figure), parts)


def distribution(one: Distribution) -> Markup:
    """Return shares of real and of generated items: bars over bins of a number, or one row for each category."""
    real, generated = ([_share(value) for value in side] for side in (one.real, one.generated))
    title = f"{one.name}: shares of real and of generated items in {len(one.bins)} bins"
    if not one.bins:
        return Markup("")
    numeric = sum(name.lstrip("([<>≤≥=~−-+. ")[:1].isdigit() for name in one.bins)
    if 2 * numeric > len(one.bins):  # the others are names such as `missing`
        return _svg("chart", _WIDTH, _HEIGHT, title, _columns(one.bins, real, generated))
    rows = list(zip(one.bins, real, generated, strict=True))
    if len(rows) > _ROWS:
        rows.sort(key=lambda row: -row[1] - row[2])
        rest = rows[_ROWS - 1 :]
        others = (f"{len(rest)} others", sum(row[1] for row in rest), sum(row[2] for row in rest))
        rows = [*rows[: _ROWS - 1], others]
    return _svg("chart", _WIDTH, 16 * len(rows) + 24, title, _rows(rows))


def curve(one: Curve) -> Markup:
    """Return a line over steps; empty where no point is finite."""
    points = list(zip(one.steps, one.values, strict=True))
    good = [(at, value) for at, value in points if math.isfinite(at) and math.isfinite(value)]
    if not good:
        return Markup("")
    values = [value for _, value in good]
    log = is_wide(values)
    heights = _powers(min(values), max(values)) if log else _steps(min(values), max(values), 4)
    spans = _steps(min(at for at, _ in good), max(at for at, _ in good), 5)
    y = Scale(min(heights[0], *values), max(heights[-1], *values), _HEIGHT - _BOTTOM, _TOP, log)
    x = Scale(min(at for at, _ in good), max(at for at, _ in good), _LEFT, _WIDTH - _RIGHT - 6)
    parts = _grid(heights, y)
    for at in spans:
        if x.start <= at <= x.end:
            parts.append(_label(x(at), _HEIGHT - _BOTTOM + 15, _tick(at), "middle"))
    parts.append(_label(_WIDTH - _RIGHT, _HEIGHT - 4, "step" + (", log scale upwards" if log else ""), "end"))
    for piece in _pieces(points):
        line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in piece)
        parts.append(f'<polyline class="curve" points="{line}"/>')
    last = good[-1]
    parts.append(f'<circle class="value" cx="{x(last[0]):.1f}" cy="{y(last[1]):.1f}" r="3.5"/>')
    title = f"{one.name}: {number(values[0])} at first, {number(values[-1])} at last, {number(min(values))} at least"
    return _svg("chart", _WIDTH, _HEIGHT, title, parts)


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
    ticks = _steps(0.0, max(*real, *generated) or 1.0, 4)
    y = Scale(0.0, max(ticks[-1], *real, *generated), _HEIGHT - _BOTTOM, _TOP)
    parts = _grid(ticks, y)
    wide = (_WIDTH - _LEFT - _RIGHT) / len(names)
    for at, (name, one, other) in enumerate(zip(names, real, generated, strict=True)):
        left = _LEFT + at * wide
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
        parts.append(_label(_LEFT + (at + 0.5) * wide, _HEIGHT - _BOTTOM + 15, _cut(names[at]), "middle"))
    return parts


def _rows(rows: Sequence[tuple[str, float, float]]) -> list[str]:
    left, bottom = 118, 16 * len(rows) + 4
    most = max(max(one, other) for _, one, other in rows) or 1.0
    ticks = _steps(0.0, most, 3)
    x = Scale(0.0, max(ticks[-1], most), left, _WIDTH - _RIGHT - 8)
    parts = []
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.2f}" x2="{x(tick):.2f}" y1="2" y2="{bottom}"/>')
        parts.append(_label(x(tick), bottom + 14, _tick(tick), "middle"))
    for at, (name, one, other) in enumerate(rows):
        top = 4 + 16 * at
        parts.append(f"<g><title>{escape(_pair(name, one, other))}</title>")
        parts.append(_label(left - 6, top + 10, _cut(name), "end"))
        for kind, share, height in (("real", one, 13), ("generated", other, 5)):
            y, width = top + (13 - height) / 2, x(share) - left
            parts.append(f'<rect class="{kind}" x="{left}" y="{y:.1f}" width="{width:.2f}" height="{height}"/>')
        parts.append("</g>")
    return parts


def _pieces(points: Sequence[tuple[float, float]]) -> Iterable[list[tuple[float, float]]]:
    """Yield runs of finite points: a line breaks at all others."""
    piece: list[tuple[float, float]] = []
    for at, value in points:
        if math.isfinite(at) and math.isfinite(value):
            piece.append((at, value))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _grid(ticks: Sequence[float], y: Scale) -> list[str]:
    parts = []
    for tick in ticks:
        at = y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.2f}" y2="{at:.2f}"/>')
        parts.append(_label(_LEFT - 6, at + 4, _tick(tick), "end"))
    return parts


def _steps(least: float, most: float, count: int) -> list[float]:
    """Return about so many round numbers, the first at or below `least`, the last at or below `most`."""
    if least == most:
        return [least]
    rough = (most - least) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
    first = math.floor(least / step + 1e-9)
    # Rounded, because 3 × .1 is not .3.
    return [float(f"{at * step:.10g}") for at in range(first, math.floor(most / step + 1e-9) + 1)]


def _powers(least: float, most: float) -> list[float]:
    return [10.0**at for at in range(math.floor(math.log10(least)), math.floor(math.log10(most)) + 1)]


def _tick(value: float) -> str:
    """Return a round number without trailing zeros."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text.replace(".00 ×", " ×")


def _share(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0


def _pair(name: str, real: float, generated: float) -> str:
    return f"{name}: real {number(real)}, generated {number(generated)}"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(kind: str, width: float, height: float, title: str, parts: Sequence[str]) -> Markup:
    opening = (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" width="100%" role="img"><title>{escape(title)}</title>'
    )
    return Markup(opening + "".join(parts) + "</svg>")
