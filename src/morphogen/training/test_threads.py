"""How many threads a fit computes with, on machines of which the speed is known."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable

import joblib
import pytest
import torch

from ..core import openmp
from ..core.errors import UserError
from .threads import Change, ThreadTuner, candidates

CPU = torch.device("cpu")
Seconds = Callable[[int, float], float]  # that a step takes, by threads and the time of day


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six cores, eight of torch's threads."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)


def test_one_half_and_all_cores_are_tried(cores: None) -> None:
    assert candidates(None, CPU, processes=1) == (1, 3, 6)
    assert candidates(2, CPU, processes=1) == (2,)
    assert candidates(None, torch.device("cuda"), processes=1) == (6,)
    assert candidates(None, CPU, processes=2) == (6,), "processes that wait for each other keep theirs"


def test_no_more_threads_than_the_user_gave_torch(monkeypatch: pytest.MonkeyPatch, cores: None) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert candidates(None, CPU, processes=1) == (1,)


def test_more_threads_than_cores_are_refused(cores: None) -> None:
    with pytest.raises(UserError, match=r"--train\.threads is 99, and this process may use 6 cores; give at most 6"):
        candidates(99, CPU, processes=1)


def simulate(seconds: Seconds, until: float, *, numbers: tuple[int, ...] = (1, 2), threads: int = 2) -> list[Change]:
    """Return the changes of a training whose steps take so long; each has the time of day as its step."""
    now, changes = 0.0, []
    effective = [threads]
    tuner = ThreadTuner(numbers, threads, lambda number: effective.append(number))
    while now < until:
        taken = seconds(effective[-1], now)
        now += taken
        change = tuner.observe(int(now), taken)
        if change is not None:
            changes.append(change)
            assert effective[-1] == change.threads
    return changes


def test_threads_follow_the_load() -> None:
    """From the 30th to the 90th second two threads wait for each other."""

    def seconds(threads: int, now: float) -> float:
        return {1: 0.02, 2: 1.0 if 30 < now < 90 else 0.012}[threads]

    changes = simulate(seconds, 150)
    assert [change.threads for change in changes] == [1, 2]
    assert changes[0].step < 40
    assert changes[1].step < 130, "that the load is gone does not change the rate of one thread"
    assert changes[0].rates[1] > 10 * changes[0].rates[2]


def test_a_wrong_start_is_corrected_at_once() -> None:
    assert [change.threads for change in simulate(lambda threads, now: 0.1 * threads, 6)] == [1]


@pytest.mark.parametrize("until", [2.0, 20.3])  # within the first trial, and long before the second one is due
def test_each_stage_of_training_has_its_own_number(until: float) -> None:
    """The second network's steps, of other times, are fastest on one thread."""
    now, changes, effective = 0.0, [], [2]
    tuner = ThreadTuner((1, 2), 2, effective.append)
    while now < until + 4:
        stage = int(now > until)
        taken = ({1: 0.02, 2: 0.012}, {1: 0.011, 2: 0.013})[stage][effective[-1]]
        now += taken
        change = tuner.observe(int(now), taken, stage)
        changes += [change] if change else []
    assert [change.threads for change in changes] == [1]
    assert changes[0].rates == pytest.approx({1: 1 / 0.011, 2: 1 / 0.013}), "none of the steps before count"


@pytest.mark.parametrize("seed", range(5))
def test_noise_changes_nothing_and_trials_are_cheap(seed: int) -> None:
    """Steps take half to one and a half times as long as the mean; other numbers of threads are far slower."""
    chooser, slow = random.Random(seed), [0.0]

    def seconds(threads: int, now: float) -> float:
        taken = {1: 0.02, 2: 0.1, 4: 3.0}[threads] * chooser.uniform(0.5, 1.5)
        slow[0] += taken if threads != 1 else 0.0
        return taken

    assert simulate(seconds, 600, numbers=(1, 2, 4), threads=1) == []
    assert slow[0] < 0.1 * 600


def test_where_there_is_no_choice_nothing_changes() -> None:
    assert simulate(lambda threads, now: 0.1 if now < 10 else 1.0, 60, numbers=(2,)) == []


def test_waiting_threads_sleep_unless_the_user_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    openmp.wait_asleep()
    assert not any(name in openmp.os.environ for name in names), "torch is loaded: too late"
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("KMP_BLOCKTIME", "5")
    openmp.wait_asleep()
    assert "OMP_WAIT_POLICY" not in openmp.os.environ
    monkeypatch.delenv("KMP_BLOCKTIME")
    program = "import os, sys, morphogen; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == ["passive", "False"]
