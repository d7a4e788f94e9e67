"""Charts of lines as inline SVG: a curve of training, and means over groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from ...core.results import Profile
from .axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    grid,
    is_wide,
    label,
    number,
    powers,
    steps,
    svg,
    tick_text,
)
from .material import Curve


def curve(one: Curve) -> Markup:
    """Return a line over steps; empty where no point is finite."""
    points = list(zip(one.steps, one.values, strict=True))
    good = [(at, value) for at, value in points if math.isfinite(at) and math.isfinite(value)]
    if not good:
        return Markup("")
    values = [value for _, value in good]
    log = is_wide(values)
    heights = powers(min(values), max(values)) if log else steps(min(values), max(values), 4)
    spans = steps(min(at for at, _ in good), max(at for at, _ in good), 5)
    y = Scale(min(heights[0], *values), max(heights[-1], *values), HEIGHT - BOTTOM, TOP, log)
    x = Scale(min(at for at, _ in good), max(at for at, _ in good), LEFT, WIDTH - RIGHT - 6)
    parts = grid(heights, y)
    for at in spans:
        if x.start <= at <= x.end:
            parts.append(label(x(at), HEIGHT - BOTTOM + 15, tick_text(at), "middle"))
    parts.append(label(WIDTH - RIGHT, HEIGHT - 4, "step" + (", log scale upwards" if log else ""), "end"))
    for piece in _pieces(points):
        line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in piece)
        parts.append(f'<polyline class="curve" points="{line}"/>')
    last = good[-1]
    parts.append(f'<circle class="value" cx="{x(last[0]):.1f}" cy="{y(last[1]):.1f}" r="3.5"/>')
    title = f"{one.name}: {number(values[0])} at first, {number(values[-1])} at last, {number(min(values))} at least"
    return svg("chart", WIDTH, HEIGHT, title, parts)


def profile(one: Profile) -> Markup:
    """Return two lines over groups, of real and of generated items; empty where nothing is finite."""
    values = [value for side in (one.real, one.generated) for value in side if math.isfinite(value)]
    if not values:
        return Markup("")
    ticks = steps(min(values), max(values), 4)
    y = Scale(min(ticks[0], *values), max(ticks[-1], *values), HEIGHT - BOTTOM, TOP)
    x = Scale(0, max(1, len(one.groups) - 1), LEFT, WIDTH - RIGHT - 6)
    parts = grid(ticks, y)
    stride = math.ceil(len(one.groups) / 8)
    for at in range(0, len(one.groups), stride):
        parts.append(label(x(at), HEIGHT - BOTTOM + 15, one.groups[at], "middle"))
    for kind, side in (("real", one.real), ("generated", one.generated)):
        for piece in _pieces([(float(at), float(value)) for at, value in enumerate(side)]):
            line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in piece)
            parts.append(f'<polyline class="course {kind}" points="{line}"/>')
    return svg("chart", WIDTH, HEIGHT, f"{one.name}: means of real and of generated rows", parts)


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
