"""Errors that speak to the user: what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend; the command line prints it as one line and exits with 2."""


class BadItem(UserError):
    """One item that cannot be read; a few among many are skipped by name and counted."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown name, with the nearest known one; leading dashes do not make names similar."""
    names = {known_name.lstrip("-"): known_name for known_name in sorted(known)}
    nearest = difflib.get_close_matches(name.lstrip("-"), names, n=1, cutoff=0.5)
    hint = f"did you mean '{names[nearest[0]]}'?" if nearest else f"known: {', '.join(names.values())}"
    return UserError(f"unknown {kind} '{name}'; {hint}")


def needs_extra(package: str, extra: str, purpose: str) -> UserError:
    """Return the error for an optional dependency that is not installed."""
    return UserError(f"{purpose} needs the package '{package}': pip install 'morphogen[{extra}]'")
