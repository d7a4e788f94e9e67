"""Messages for the user: the logger "morphogen", level INFO. Imports no torch."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

LOGGER = logging.getLogger("morphogen")


class _Screen(logging.StreamHandler[TextIO]):
    """Writes the plain message to what is standard error at that moment."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_SCREEN = _Screen()


def say(line: str) -> None:
    """Log a line for the user; it goes to standard error where the program has not set up the logger.

    `logging.getLogger("morphogen").setLevel("WARNING")` silences it, handlers and levels of the program direct it.
    """
    if LOGGER.hasHandlers() and LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info("%s", line)
    elif LOGGER.level <= logging.INFO:
        _SCREEN.handle(LOGGER.makeRecord(LOGGER.name, logging.INFO, __file__, 0, line, (), None))
