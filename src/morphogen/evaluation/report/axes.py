"""What charts share: numbers in words, scales, grids and labels, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDE_RANGE = 100  # ratio of positive numbers from which on a scale is logarithmic
WIDTH, HEIGHT = 320, 190  # pixels of a chart
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34  # around its plot
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


def grid(ticks: Sequence[float], y: Scale) -> list[str]:
    parts = []
    for tick in ticks:
        at = y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.2f}" y2="{at:.2f}"/>')
        parts.append(label(LEFT - 6, at + 4, tick_text(tick), "end"))
    return parts


def steps(least: float, most: float, count: int) -> list[float]:
    """Return about so many round numbers, the first at or below `least`, the last at or below `most`."""
    if least == most:
        return [least]
    rough = (most - least) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
    first = math.floor(least / step + 1e-9)
    # Rounded, because 3 × .1 is not .3.
    return [float(f"{at * step:.10g}") for at in range(first, math.floor(most / step + 1e-9) + 1)]


def powers(least: float, most: float) -> list[float]:
    return [10.0**at for at in range(math.floor(math.log10(least)), math.floor(math.log10(most)) + 1)]


def tick_text(value: float) -> str:
    """Return a round number without trailing zeros."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text.replace(".00 ×", " ×")


def label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def svg(kind: str, width: float, height: float, title: str, parts: Sequence[str]) -> Markup:
    opening = (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" width="100%" role="img"><title>{escape(title)}</title>'
    )
    return Markup(opening + "".join(parts) + "</svg>")
