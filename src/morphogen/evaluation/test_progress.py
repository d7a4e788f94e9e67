"""What an evaluation says while it works."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morphogen.core.modality import modality
from morphogen.core.space import Grid
from morphogen.evaluation import progress


def test_the_training_of_an_extractor_says_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(progress, "_PRINT_SECONDS", 0.0)
    shown = progress.Progress(lines.append)
    shown.stage("preparing the extractor")
    own = modality("image")
    judge = own.judge()
    assert judge is not None
    noise = np.random.default_rng(0).integers(0, 255, (40, 8, 8)).astype(np.uint8)
    pictures: Any = [Image.fromarray(one) for one in noise]
    codec = own.fit([pictures], Grid, own.Options())
    counts: list[tuple[int, int]] = []

    def advance(finished: int, total: int) -> None:
        counts.append((finished, total))
        shown.advance(finished, total)

    judge.quick_extractor([pictures], None, codec=codec, seed=0, advance=advance)
    total = counts[0][1]
    assert counts == [(step, total) for step in range(1, total + 1)]
    assert lines[0] == "preparing the extractor …"
    assert len(lines) == total  # the last step has nothing left
    assert re.fullmatch(rf"1 of {total}, about \d+ s left", lines[1])


def test_the_time_left_is_counted_from_where_the_number_of_steps_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [0.0], list[str]()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = progress.Progress(lines.append)
    shown.stage("preparing the extractor")
    now[0] = 1000.0  # reading the data
    shown.advance(0, 100)
    now[0] = 1020.0
    shown.advance(20, 100)
    assert lines[1:] == ["20 of 100, about 80 s left"]
