"""A fit that was killed at any moment, or asked to stop, ends with the very weights of one that was left alone."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morphogen.cli import run
from morphogen.training.checkpoint import latest_checkpoint

STEPS, SOON = 40, 300  # steps of a fit; seconds within which anything here is done
Flags = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = ("autoregressive-fp32", "diffusion-fp32", "diffusion-bf16", "diffusion-fp16", "gan-fp32", "vae-fp32")
    return {name: tmp_path_factory.mktemp("undisturbed") / name for name in names}


def arguments(flags: Flags, family: str, precision: str = "fp32") -> list[str]:
    # A checkpoint at every step.
    later = ["--train.steps", str(STEPS), "--train.save-seconds", "1e-6", "--train.precision", precision]
    if family == "autoregressive":
        later += ["--train.batch", "64"]  # so many items that some are worth looking at for validation
    return ["fit", "digits", "--condition", "label", *flags(family), *later]


def reach(process: Any, out: Path, step: int) -> None:
    """Wait for a checkpoint at `step` or later."""
    until = time.monotonic() + SOON
    while time.monotonic() < until:
        found = latest_checkpoint(out / "training")
        if found and int(found.name.removeprefix("step-")) >= step:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    pytest.fail(f"no checkpoint at step {step} after {SOON} s")


@pytest.mark.parametrize(
    ("family", "precision", "number"),
    [
        ("autoregressive", "fp32", signal.SIGKILL),  # with the weights that did best so far
        ("diffusion", "fp32", signal.SIGKILL),
        ("diffusion", "fp32", signal.SIGTERM),
        ("diffusion", "bf16", signal.SIGKILL),
        ("diffusion", "fp16", signal.SIGKILL),
        ("gan", "fp32", signal.SIGKILL),
        ("vae", "fp32", signal.SIGKILL),
        ("vae", "fp32", signal.SIGINT),
    ],
)
def test_a_stopped_fit_ends_alike(
    undisturbed: dict[str, Path],
    flags: Flags,
    start: Any,
    tmp_path: Path,
    family: str,
    precision: str,
    number: signal.Signals,
) -> None:
    fit, out = arguments(flags, family, precision), tmp_path / "out"
    whole = undisturbed[f"{family}-{precision}"]
    left_alone = None if whole.exists() else start(*fit, "--out", whole)
    moment = random.randint(1, STEPS // 2), random.uniform(0, 0.02)

    process = start(*fit, "--out", out)
    reach(process, out, moment[0])
    time.sleep(moment[1])
    process.send_signal(number)
    _, said = process.communicate(timeout=SOON)
    if number == signal.SIGKILL:
        assert process.returncode == -number, "it was done before it could be killed"
    else:
        assert process.returncode == 128 + number
        last = said.strip().splitlines()[-1]
        assert last.startswith("morphogen: stopped at step ")
        assert last.endswith(f"continue with: morphogen fit --resume --out {out}")
        step = int(last.split("step ")[1].split(";")[0])
        assert latest_checkpoint(out / "training") == out / "training" / f"step-{step}"
    assert not (out / "config.json").exists()

    resumed = start("fit", "--resume", "--out", out)
    _, said = resumed.communicate(timeout=SOON)
    assert resumed.returncode == 0, said
    assert "going on from step" in said
    if left_alone:
        _, said = left_alone.communicate(timeout=SOON)
        assert left_alone.returncode == 0, said
    same = (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert same, f"stopped {moment[1]:.3f} s after step {moment[0]}"
    assert not (out / "training").exists()


def test_a_fit_that_died_before_its_first_step_is_resumed(flags: Flags, start: Any, tmp_path: Path) -> None:
    """Once the settings are written, all that a kill can leave is resumable."""
    out = tmp_path / "out"
    process = start(*arguments(flags, "diffusion"), "--out", out)
    until = time.monotonic() + SOON
    while not (out / "training" / "settings.json").exists() and time.monotonic() < until:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    resumed = start("fit", "--resume", "--out", out)
    _, said = resumed.communicate(timeout=SOON)
    assert resumed.returncode == 0, said
    assert (out / "model.safetensors").exists()


@pytest.mark.parametrize("made", [False, True])
def test_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str], made: bool) -> None:
    if made:
        (tmp_path / "out").mkdir()
    assert run(["fit", "--resume", "--out", str(tmp_path / "out")]) == 2
    assert "holds no interrupted fit; start one without --resume" in capsys.readouterr().err
    assert (tmp_path / "out").exists() == made


def test_a_finished_fit_is_not_resumed(fitted: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = fitted("diffusion")
    before = (folder / "model.safetensors").read_bytes()
    assert run(["fit", "--resume", "--out", str(folder)]) == 2
    assert capsys.readouterr().err == f"morphogen: the fit in {folder} has finished; nothing to resume\n"
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("step-*/state.json", b"{}", "cannot be read"),
        ("step-*/state.safetensors", b"", "cannot be read"),
        ("condition-label.npy", b"", "condition-label.npy cannot be read"),
    ],
)
def test_a_damaged_fit_is_not_resumed(
    flags: Flags,
    start: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    complaint: str,
) -> None:
    out = tmp_path / "out"
    process = start(*arguments(flags, "vae"), "--out", out)
    reach(process, out, 1)
    process.kill()
    process.communicate()
    for file in (out / "training").glob(name):
        file.write_bytes(content)
    assert run(["fit", "--resume", "--out", str(out)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("morphogen: ")
    assert complaint in last
