"""Fixtures that tests of training share: the smallest fits, in this process or in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tiny import TRAIN, conditions, tiny

STEPS = ("--train.steps", "6", "--train.batch", "16", "--train.precision", "fp32", "--train.previews", "0")
ALONE = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="session")
def flags() -> Callable[[str], list[str]]:
    """Return the flags of the smallest fit of a family, without the source and --out."""

    def spell(value: Any) -> list[str]:
        return [str(one) for one in value] if isinstance(value, tuple) else [str(value)]

    def flags(family: str) -> list[str]:
        options = [word for name, value in tiny(family).items() for word in (f"--options.{name}", *spell(value))]
        return ["--family", family, *STEPS, *options]

    return flags


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a family fitted to the digits, by class where it can; it is fitted once for all tests."""

    @cache
    def fitted(family: str) -> Path:
        import morphogen

        out = tmp_path_factory.mktemp("fitted") / family
        train = {**TRAIN, "previews": 1}
        morphogen.fit(
            "digits", family=family, condition=conditions(family), out=out, train=train, options=tiny(family), say=None
        )
        return out

    return fitted


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the extractors of pictures in this process for a few steps only."""
    shorten(monkeypatch)


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Let the extractors of pictures have a few steps of training."""
    patch.setattr("morphogen.modalities.image.features._FEWEST", 30)
    patch.setattr("morphogen.modalities.image.features._PASSES", 5)


@pytest.fixture
def start() -> Iterator[Any]:
    """Start `python -m morphogen …` with one thread and no GPU; whatever still runs at the end is killed."""
    with starting() as start:
        yield start


@contextmanager
def starting() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return the function `start` of that fixture."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "morphogen", *map(str, arguments)]
        running.append(subprocess.Popen(command, env=ALONE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    try:
        yield start
    finally:
        for process in running:
            process.kill()
            process.communicate()
