"""Ctrl-C and SIGTERM: the current step ends, and a checkpoint is saved."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, Self


class Interrupted(Exception):
    """Training was asked to stop, and a checkpoint is saved. `signal` is the number of the signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Signals:
    """Within the block Ctrl-C and SIGTERM only set `number`, so that the current step can end."""

    number = 0

    def __enter__(self) -> Self:
        self._handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # SIGTERM often comes twice, from a launcher and from what launched it; a second Ctrl-C ends at once.
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
        print("\nstopping after this step …", file=sys.stderr)
