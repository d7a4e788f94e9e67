"""The command line in tests: in this process, in one of its own, or in two that work together."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from morphogen.cli import run

TIMEOUT = 300  # seconds
CPU_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def last_line(errors: str) -> str:
    """Return the message: the last line, the only one that begins with the program's name."""
    lines = errors.strip().splitlines()
    assert lines[-1].startswith("morphogen: "), errors
    assert sum(line.startswith("morphogen:") for line in lines) == 1, errors
    assert "Traceback" not in errors
    return lines[-1]


def refused(capsys: pytest.CaptureFixture[str], arguments: Sequence[str | Path], *words: str) -> None:
    """Check that a command fails as the user's mistake, with a message that contains these words."""
    capsys.readouterr()
    code, errors = run(list(map(str, arguments))), capsys.readouterr().err
    assert code == 2, errors
    message = last_line(errors)
    for word in words:
        assert word in message, message


def accepted(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    """Check that a command succeeds and that it prints these words to stderr."""
    capsys.readouterr()
    code, errors = run(list(map(str, arguments))), capsys.readouterr().err
    assert code == 0, errors
    for word in words:
        assert word in errors, errors


@contextmanager
def starting() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Yield a function that starts `morphogen …` with one thread and no GPU; what still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "morphogen", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=CPU_ENVIRONMENT, text=True, **pipes))
        return processes[-1]

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a condition, as long as the process runs."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"not reached in {TIMEOUT} s"
        time.sleep(0.002)


def run_on_full_disk(limit: int, *arguments: str | Path) -> str:
    """Run `morphogen …`, whose files may have at most `limit` bytes; return the message with which it fails."""
    process = subprocess.run(
        [sys.executable, "-m", "morphogen", *map(str, arguments)],
        env=CPU_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert process.returncode == 2, process.stderr
    return last_line(process.stderr)


def launch(*arguments: str | Path) -> str:
    """Run Python in two processes that know each other; return what they print to stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    process = subprocess.run(
        [*command, *map(str, arguments)],
        env=CPU_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert process.returncode == 0, process.stderr
    return process.stderr
