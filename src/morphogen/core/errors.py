"""Errors that speak to the user: what was found, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Iterable

from .suggest import suggest

_LONGEST = 2000  # characters of a message


class UserError(Exception):
    """A mistake the user can mend; the command line prints it as one line and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(_printable(message))


class BadItem(UserError):
    """One item that cannot be read; a few among many are skipped by name and counted."""


def one_line(error: BaseException) -> str:
    """Return the first line of what an exception says, or else its name."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__)[:300]


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown name, with the nearest known ones; leading dashes do not make names similar."""
    names = sorted(known)
    nearest = " or ".join(f"'{one}'" for one in suggest(str(name), names))
    hint = f"did you mean {nearest}?" if nearest else f"known: {', '.join(names)}"
    return UserError(f"unknown {kind} '{name}'; {hint}")


def needs_extra(package: str, extra: str, purpose: str) -> UserError:
    """Return the error for an optional dependency that is not installed."""
    return UserError(f"{purpose} needs the package '{package}': pip install 'morphogen[{extra}]'")


def _printable(message: str) -> str:
    """Return a message in one line that any console can show; of a very long one the middle is left out."""
    line = " ".join(part.strip() for part in message.split("\n"))
    line = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
