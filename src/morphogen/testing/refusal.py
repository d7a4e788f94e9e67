"""Whether a call is refused, and how it says so."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import UserError


def refusal(kind: type[UserError], call: Callable[[], object]) -> str | None:
    """Return the message with which a call is refused; None: it is not. Any other error is passed on."""
    try:
        call()
    except kind as error:
        return str(error)
    return None
