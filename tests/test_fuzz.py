"""Files from strangers: whatever is in them, a user sees one line that says what to do, and nothing is written outside.

`MORPHOGEN_FUZZ_SECONDS=3600 pytest tests/test_fuzz.py` tries for an hour, and then other inputs than in CI.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
from damage import Damage, damaged_copy, damages
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from strangers import Read, cases

from morphogen import UserError

_SECONDS = float(os.environ.get("MORPHOGEN_FUZZ_SECONDS", "30"))
_FIRST = 0 if "MORPHOGEN_FUZZ_SECONDS" not in os.environ else int(time.time())  # seed
_ROUND = 40  # inputs of one seed


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def check(original: Path, read: Read, work: Path, choice: float, damage: Damage) -> None:
    """Read a damaged copy: it is read, or refused in one line, and nothing stands beside it afterwards."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "in").mkdir(parents=True)
    victim = damaged_copy(original, work / "in", choice, damage)
    message = refusal(read, work / "in")
    assert len(message.splitlines()) <= 1, f"{victim}: {message}"
    assert message.isprintable(), f"{victim}: {message}"
    assert [path.name for path in work.iterdir()] == ["in"], f"{victim}: something was written beside it"
    assert sorted(path.name for path in work.parent.iterdir()) == ["originals", "work"]


def refusal(read: Read, folder: Path) -> str:
    """Return the message with which a folder is refused; nothing where it is read."""
    try:
        read(folder)
    except UserError as error:
        return str(error)
    return ""


def test_damaged_files(tmp_path: Path, one_thread: None) -> None:
    all_cases = cases(tmp_path / "originals")
    deadline, tried = time.monotonic() + _SECONDS, 0

    @settings(max_examples=_ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(all_cases)), st.floats(0, 1, exclude_max=True), damages)
    def examine(name: str, choice: float, damage: Damage) -> None:
        nonlocal tried
        tried += 1
        check(*all_cases[name], tmp_path / "work", choice, damage)

    for number in count(_FIRST):
        if time.monotonic() > deadline:
            break
        seed(number)(examine)()
    print(f"{tried} damaged inputs, none of which ended in a traceback")
    assert tried >= _ROUND
