"""Errors that speak to the user: what was found, what was expected, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .suggest import decided_by, suggest

_LONGEST = 2000  # characters of a message
_SETTINGS = ("argument", "flag", "key of the recipe")  # kinds of names that are ours, unlike those of columns


class UserError(Exception):
    """A mistake the user can mend; the command line prints it as one line and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(_printable(message))


class BadItem(UserError):
    """One item that cannot be read; a few among many are skipped by name and counted."""


def one_line(error: BaseException) -> str:
    """Return the first line of what an exception says; the name of its type, where it says nothing or a value alone."""
    kind, message = type(error).__name__, str(error)
    if isinstance(error, KeyError) and len(error.args) == 1 and isinstance(error.args[0], str) and " " in error.args[0]:
        message = error.args[0]  # which str() would put in quotation marks
    line = next(filter(None, (line.strip() for line in message.splitlines())), "")
    if not line:
        return kind
    if line != message.strip() or not _is_value(line):
        return line[:300]
    return (f"no entry {line}" if isinstance(error, KeyError) else f"{kind}: {line}")[:300]


def _is_value(text: str) -> bool:
    """Return whether a text is a value alone, such as 76 or 'label', and so no words."""
    return text in ("None", "True", "False") or not re.search(r"[^\W\d_]{2}", re.sub(r"'.*'|\".*\"", "", text))


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown name, with the nearest known ones; leading dashes do not make names similar.

    Where it is a setting of other programs that is none here, the error says what decides it.
    """
    names = sorted(known)
    answer = decided_by(str(name)) if kind in _SETTINGS or kind.startswith("field of ") else None
    if answer:
        return UserError(f"unknown {kind} '{name}'; {answer}")
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
