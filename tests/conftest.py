"""What the tests of training share: the smallest fits worth making, in this process or in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tiny import TRAIN, conditions, tiny

STEPS = ("--train.steps", "6", "--train.batch", "16", "--train.precision", "fp32", "--train.previews", "0")
ALONE = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="session")
def flags() -> Callable[[str], list[str]]:
    """Flags of the smallest fit of a family, less source and --out."""

    def spell(value: Any) -> list[str]:
        return [str(one) for one in value] if isinstance(value, tuple) else [str(value)]

    def flags(family: str) -> list[str]:
        options = [word for name, value in tiny(family).items() for word in (f"--options.{name}", *spell(value))]
        return ["--family", family, *STEPS, *options]

    return flags


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The model folder of a family fitted to the digits for a few steps, by class where it can; made once for all."""

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
def start() -> Any:
    """Start `python -m morphogen …` with one thread and no GPU; whatever still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "morphogen", *map(str, arguments)]
        running.append(subprocess.Popen(command, env=ALONE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()
