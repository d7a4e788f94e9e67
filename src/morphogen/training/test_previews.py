"""Which previews a short training leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from .previews import Previews


def previews(items_per_second: float, seconds: float | None) -> Previews:
    """Return five previews over a training of so many seconds."""
    return Previews(
        cast("Any", None),
        cast("Any", None),
        cast("Any", None),
        Path(),
        count=5,
        progress=0.0,
        seconds=seconds,
        items_per_second=items_per_second,
    )


@pytest.mark.parametrize(
    ("items_per_second", "seconds", "taken", "count"),
    [
        (1000.0, 100.0, 1.0, 5),
        (1000.0, 100.0, 4.0, 2),  # ten of a hundred seconds are theirs
        (10.0, 100.0, 4.0, 0),  # as slow as training is, the first one would take twenty
        (10.0, None, 4.0, 5),  # steps are counted
    ],
)
def test_previews_take_a_tenth_of_the_seconds(
    monkeypatch: pytest.MonkeyPatch, items_per_second: float, seconds: float | None, taken: float, count: int
) -> None:
    now = [0.0]

    def write(*_: Any) -> str:
        now[0] += taken
        return ""

    monkeypatch.setattr("morphogen.training.previews.monotonic", lambda: now[0])
    monkeypatch.setattr(Previews, "_write", write)
    these, written = previews(items_per_second, seconds), 0
    for step in range(101):
        if these.due(step / 100):
            these.write(cast("Any", None), cast("Any", None))
            written += 1
    assert written == count
