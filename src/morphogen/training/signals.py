"""Ctrl-C and SIGTERM: the step under way ends, what was reached is saved."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, Self


class Interrupted(Exception):
    """Training was asked to stop; what was reached is saved. `signal` is the number of the signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Signals:
    """Inside, Ctrl-C and SIGTERM only set `number`, so that the step under way ends and is saved."""

    number = 0

    def __enter__(self) -> Self:
        self._old: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for one in (signal.SIGINT, signal.SIGTERM):
                self._old[one] = signal.signal(one, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for one, handler in self._old.items():
            signal.signal(one, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # SIGTERM often comes twice, from a launcher and from what launched it; a second Ctrl-C is meant.
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
        print("\nstopping after this step …", file=sys.stderr)
