"""A fit that is killed or stopped at any moment, and resumed, ends with the weights of one without interruption."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import TIMEOUT, starting, wait_until

from morphogen.cli import run
from morphogen.training.checkpoint import latest_checkpoint

STEPS = 24  # of a fit
Flags = Callable[[str], list[str]]


def arguments(flags: Flags, family: str, precision: str = "fp32") -> list[str]:
    # A checkpoint at every step.
    more = ["--train.steps", str(STEPS), "--train.save-seconds", "1e-6", "--train.precision", precision]
    if family == "autoregressive":
        more += ["--train.batch", "64"]  # enough items for validation
    return ["fit", "digits", "--condition", "label", *flags(family), *more]


def reach(process: Any, out: Path, step: int) -> None:
    """Wait for a checkpoint at `step` or later."""

    def reached() -> bool:
        checkpoint = latest_checkpoint(out / "training")
        return checkpoint is not None and int(checkpoint.name.removeprefix("step-")) >= step

    wait_until(reached, process)


@pytest.fixture
def finish(start: Any, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Run a verb to its end, with one thread and no GPU as `start` does; return what it prints to stderr.

    It runs in this process, or, where that has a GPU, in another.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def finish(*arguments: str | Path) -> str:
        if torch.cuda.is_available():
            process = start(*arguments)
            _, messages = process.communicate(timeout=TIMEOUT)
            code = process.returncode
        else:
            code, messages = run([*map(str, arguments)]), capsys.readouterr().err
        assert code == 0, messages
        return messages

    yield finish
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("family", "precision", "number"),
    [
        ("autoregressive", "fp32", signal.SIGTERM),  # with the best weights so far
        ("diffusion", "fp16", signal.SIGKILL),  # with the scale of its gradients
        ("gan", "fp32", signal.SIGKILL),
        ("vae", "fp32", signal.SIGINT),
    ],
)
def test_an_interrupted_fit_ends_with_the_same_weights(
    flags: Flags,
    start: Any,
    tmp_path: Path,
    finish: Callable[..., str],
    family: str,
    precision: str,
    number: signal.Signals,
) -> None:
    """Only the fit that is interrupted needs a process of its own."""
    fit, out, uninterrupted = arguments(flags, family, precision), tmp_path / "out", tmp_path / "whole"
    moment = random.randint(1, STEPS // 4), random.uniform(0, 0.02)

    process = start(*fit, "--out", out)
    reach(process, out, moment[0])
    time.sleep(moment[1])
    process.send_signal(number)
    _, messages = process.communicate(timeout=TIMEOUT)
    if number == signal.SIGKILL:
        assert process.returncode == -number, "it had finished before it could be killed"
    else:
        assert process.returncode == 128 + number
        last = messages.strip().splitlines()[-1]
        assert last.startswith("morphogen: stopped at step ")
        assert last.endswith(f"continue with: morphogen fit --resume --out {out}")
        step = int(last.split("step ")[1].split(";")[0])
        assert latest_checkpoint(out / "training") == out / "training" / f"step-{step}"
    assert not (out / "config.json").exists()

    assert "resuming at step" in finish("fit", "--resume", "--out", out)
    finish(*fit, "--out", uninterrupted)
    same = (out / "model.safetensors").read_bytes() == (uninterrupted / "model.safetensors").read_bytes()
    assert same, f"stopped {moment[1]:.3f} s after step {moment[0]}"
    assert not (out / "training").exists()


def test_a_fit_that_died_before_its_first_step_is_resumed(flags: Flags, start: Any, tmp_path: Path) -> None:
    """Once the records are written, whatever a kill leaves can be resumed."""
    out = tmp_path / "out"
    process = start("fit", "digits", *flags("diffusion"), "--out", out)
    wait_until((out / "training" / "probed.json").exists, process)
    process.kill()
    process.communicate()
    assert run(["fit", "--resume", "--out", str(out)]) == 0
    assert (out / "model.safetensors").exists()


@pytest.mark.parametrize("exists", [False, True])
def test_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str], exists: bool) -> None:
    if exists:
        (tmp_path / "out").mkdir()
    assert run(["fit", "--resume", "--out", str(tmp_path / "out")]) == 2
    assert "holds no interrupted fit; start one without --resume" in capsys.readouterr().err
    assert (tmp_path / "out").exists() == exists


def test_other_settings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A resumed fit keeps its settings: others would be ignored."""
    for more, name in (
        (["--family", "vae"], "--family"),
        (["--train.steps=3"], "--train.steps"),
        (["digits"], "digits"),
    ):
        assert run(["fit", "--resume", *more, "--out", str(tmp_path)]) == 2
        assert f"settings of the interrupted fit; drop {name}" in capsys.readouterr().err


def test_a_finished_fit_is_not_resumed(fitted: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = fitted("diffusion")
    before = (folder / "model.safetensors").read_bytes()
    assert run(["fit", "--resume", "--out", str(folder)]) == 2
    assert capsys.readouterr().err == f"morphogen: the fit in {folder} has finished; nothing to resume\n"
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.fixture(scope="module")
def killed(flags: Flags, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a fit that was killed after its first step."""
    out = tmp_path_factory.mktemp("killed") / "out"
    with starting() as start:
        process = start(*arguments(flags, "vae"), "--out", out)
        reach(process, out, 1)
        process.kill()
        process.communicate()
    return out


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("step-*/state.json", b"{}", "delete it, and --resume trains from the start"),
        ("step-*/state.safetensors", b"", "delete it, and --resume trains from the start"),
        ("condition-label.npy", b"", "condition-label.npy cannot be read"),
    ],
)
def test_a_damaged_fit_is_not_resumed(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, complaint: str
) -> None:
    out = shutil.copytree(killed, tmp_path / "out")
    for file in (out / "training").glob(name):
        file.write_bytes(content)
    assert run(["fit", "--resume", "--out", str(out)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("morphogen: ")
    assert complaint in last


def test_without_its_checkpoint_a_fit_trains_from_the_start(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(killed, tmp_path / "out")
    for checkpoint in (out / "training").glob("step-*"):
        shutil.rmtree(checkpoint)
    assert run(["fit", "--resume", "--out", str(out)]) == 0
    messages = capsys.readouterr().err
    assert "resuming" not in messages
    assert f"wrote {out}: {STEPS} steps" in messages
