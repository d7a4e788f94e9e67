"""Where the output of the command line goes: a pipe that closes, a console without UTF-8, a terminal that is gone."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import CPU_ENVIRONMENT, TIMEOUT, wait_until

import morphogen
from morphogen.cli import _flags
from morphogen.training.checkpoint import latest_checkpoint

_COMMAND = [sys.executable, "-m", "morphogen"]


def test_a_pipe_that_closes() -> None:
    """As `morphogen … | head -1` closes it."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([*_COMMAND, "--help"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=TIMEOUT)
    os.close(write)
    assert process.returncode == 128 + signal.SIGPIPE
    assert process.stderr == b""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of texts whose letters a plain console lacks."""
    out = tmp_path_factory.mktemp("texts") / "model"
    train = {"steps": 2, "batch": 8, "precision": "fp32", "previews": 0}
    options = {"width": 16, "layers": 1}
    morphogen.fit(["☃é" * 9] * 30, modality="text", out=out, train=train, options=options, say=None)
    return out


def test_a_stream_into_a_pipe_that_closes(texts: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*_COMMAND, "sample", str(texts), "--stream"]
    process = subprocess.run(
        command, env=CPU_ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, check=False, timeout=TIMEOUT
    )
    os.close(write)
    assert process.returncode == 128 + signal.SIGPIPE
    assert process.stderr == b""


def test_a_stream_to_a_console_without_utf_8(texts: Path) -> None:
    process = subprocess.run(
        [*_COMMAND, "sample", str(texts), "--stream", "--min-length", "8", "--max-length", "8"],
        env={**CPU_ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert process.returncode == 0, process.stderr
    text = process.stdout.decode("ascii")
    assert set(text.replace("\\u2603", "").replace("\\xe9", "")) <= {"\n"}, text
    assert text.count("\\") == 8


def test_a_console_without_utf_8(tmp_path: Path) -> None:
    rows = [f"{number % 9},{'Orléans' if number % 2 else '☃'}" for number in range(99)]
    (tmp_path / "données.csv").write_text("\n".join(["né,ville", *rows]), encoding="utf-8")
    process = subprocess.run(
        [*_COMMAND, "inspect", str(tmp_path / "données.csv")],
        env={**CPU_ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert process.returncode == 0, process.stderr
    assert b"donn\\xe9es.csv" in process.stdout


def test_a_terminal_that_is_gone(tmp_path: Path, fit: Any) -> None:
    """A fit whose terminal is closed saves a checkpoint, as after SIGTERM."""
    terminal, own_end = pty.openpty()
    process = subprocess.Popen(
        [*_COMMAND, *fit("digits", "--train.steps", "1000000")],
        env=CPU_ENVIRONMENT,
        stdin=own_end,
        stdout=own_end,
        stderr=own_end,
        start_new_session=True,
        text=True,
    )
    os.close(own_end)
    out = tmp_path / "out"
    try:
        wait_until((out / "training" / "step-0").exists, process)
        process.send_signal(signal.SIGHUP)
        os.close(terminal)
        assert process.wait(timeout=TIMEOUT) == 128 + signal.SIGHUP
    finally:
        process.kill()
    assert latest_checkpoint(out / "training") is not None


def test_a_signal_while_flags_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the program with its own code, and is not taken for a refused flag."""

    def stopped(*arguments: Any, **more: Any) -> Any:
        sys.exit(128 + signal.SIGTERM)

    monkeypatch.setattr("tyro.cli", stopped)
    with pytest.raises(SystemExit) as stop:
        _flags.parse(_Command, [], "fit")
    assert stop.value.code == 128 + signal.SIGTERM


@dataclass
class _Command:
    """A command."""
