"""The progress of an evaluation: what it does now, and how long that still takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Say = Callable[[str], None]
_PRINT_SECONDS = 10  # between lines where there is no terminal


class Progress:
    """A bar on a terminal; elsewhere a line for each stage, and lines with the time left of a long one."""

    def __init__(self, say: Say | None, *, bar: bool = False) -> None:
        """`say` takes lines; None: nothing is shown. `bar`: a bar is shown instead, if standard error is a terminal."""
        self._say, self._total, self._started, self._printed = say, 0, 0.0, 0.0
        self._bar: Any = _make_bar() if bar and say is not None and sys.stderr.isatty() else None
        self._task: Any = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it until the block ends."""
        if self._bar is None:
            yield
            return
        with self._bar:
            yield

    def stage(self, what: str, total: int = 0) -> None:
        """Begin a stage, with so many items; 0: it is not known how far it is."""
        self._total, self._started = total, time.monotonic()
        self._printed = self._started
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(what, total=total or None)
        elif self._say:
            self._say(f"{what} …")

    def advance(self, finished: int, total: int | None = None) -> None:
        """Set how many items of the stage are finished; `total`: of how many, where that was not known before."""
        if total is not None and total != self._total:  # what came before says nothing of the pace
            self._total, self._started = total, time.monotonic()
            if self._bar is not None:
                self._bar.reset(self._task, total=total)
        if self._bar is not None:
            self._bar.update(self._task, completed=finished)
            return
        now = time.monotonic()
        if self._say and finished and finished < self._total and now - self._printed > _PRINT_SECONDS:
            self._printed = now
            left = (now - self._started) / finished * (self._total - finished)
            self._say(f"{finished:,} of {self._total:,}, {_in_words(left)} left")


def _in_words(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds > 90 else f"about {seconds:.0f} s"


def _make_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
