"""Ctrl-C, SIGTERM and a closed terminal: the current step ends, and a checkpoint is saved."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

from ..core.log import say


class Interrupted(Exception):
    """Training was asked to stop, and a checkpoint is saved. `signal` is the number of the signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


# Ctrl-C, what a system or a scheduler sends, and what a closed terminal does.
STOPPING = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__)


class Signals:
    """Within the block Ctrl-C, SIGTERM and SIGHUP only set `number`, so that the current step can end."""

    number = 0

    def __enter__(self) -> Self:
        self._handlers: dict[int, Any] = {}
        self._terminal = [number for number in (1, 2) if os.isatty(number)]
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                    continue  # as nohup has it
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
        if signal.Signals(number).name == "SIGHUP":
            self._leave_terminal()
        say("stopping after this step …")

    def _leave_terminal(self) -> None:
        """Write to nowhere what was written to the terminal: it is gone, and writing to it would be an error."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in self._terminal:
            os.dup2(nowhere, number)
        os.close(nowhere)
