"""The dependences of all pairs of columns: real ones below the diagonal, generated ones above it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from ...core.results import Dependence

_MOST = 24  # columns
_LABEL, _LETTERS, _CELL = 120, 18, 24  # pixels of a label, its characters, pixels of a cell


def heat_map(pairs: Sequence[Dependence]) -> Markup:
    """Return a square of cells, those that differ with a frame; of many columns, those that differ most."""
    names = list(dict.fromkeys(name for one in pairs for name in (one.first, one.second)))
    if len(names) < 2:
        return Markup("")
    worst = {name: max(one.difference for one in pairs if name in (one.first, one.second)) for name in names}
    chosen = sorted(names, key=lambda name: -worst[name])[:_MOST]
    shown = [name for name in names if name in chosen]
    places = {name: at for at, name in enumerate(shown)}
    width, height = _LABEL + len(shown) * _CELL + 60, _LABEL + len(shown) * _CELL + 4
    parts = [_labels(shown)]
    for one in pairs:
        if one.first in places and one.second in places:
            early, late = sorted((places[one.first], places[one.second]))
            parts.append(_cell(late, early, one, one.real))
            parts.append(_cell(early, late, one, one.generated))
    title = f"dependences of {len(shown)} columns: real below the diagonal, generated above it"
    return Markup(
        f'<svg class="heat" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{title}</title>{''.join(parts)}</svg>"
    )


def _cell(row: int, column: int, one: Dependence, value: float) -> str:
    x, y = _LABEL + column * _CELL + 1, _LABEL + row * _CELL + 1
    words = f"{one.first} and {one.second}: real {one.real:.2f}, generated {one.generated:.2f}"
    kind = "differs" if one.detected else "same"
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{_CELL - 3}" height="{_CELL - 3}" '
        f'fill-opacity="{max(0.03, value):.2f}"><title>{escape(words)}</title></rect>'
    )


def _labels(names: Sequence[str]) -> str:
    parts = []
    for at, name in enumerate(names):
        text = escape(name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…")
        middle = _LABEL + at * _CELL + _CELL / 2
        parts.append(f'<text x="{_LABEL - 6}" y="{middle + 4}" text-anchor="end">{text}</text>')
        parts.append(f'<text transform="translate({middle + 3} {_LABEL - 6}) rotate(-55)">{text}</text>')
    return "".join(parts)
