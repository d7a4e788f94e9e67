"""Fixtures that tests of training share: the smallest fits, in this process or in one of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from command_line import starting
from tiny import TRAIN, conditions, shorten, tiny

STEPS = ("--train.steps", "6", "--train.batch", "16", "--train.precision", "fp32", "--train.previews", "0")


@pytest.fixture(scope="session")
def flags() -> Callable[[str], list[str]]:
    """Return the flags of the smallest fit of a family, without the source and --out."""

    def words(value: Any) -> list[str]:
        return [str(one) for one in value] if isinstance(value, tuple) else [str(value)]

    def flags(family: str) -> list[str]:
        options = [word for name, value in tiny(family).items() for word in (f"--options.{name}", *words(value))]
        return ["--family", family, *STEPS, *options]

    return flags


@pytest.fixture
def fit(tmp_path: Path, flags: Callable[[str], list[str]]) -> Callable[..., list[str]]:
    """Return the arguments of a small fit of a source into the folder `out`."""
    return lambda source, *more: ["fit", str(source), "--out", str(tmp_path / "out"), *flags("diffusion"), *more]


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


@pytest.fixture
def start() -> Iterator[Any]:
    """Start `python -m morphogen …` with one thread and no GPU; whatever still runs at the end is killed."""
    with starting() as start:
        yield start
