"""How readings are encoded, and which of them may be missing."""

from __future__ import annotations

from pydantic import Field

from morphogen.core.config import Frozen


class Options(Frozen):
    """How to encode readings."""

    clip: float | None = Field(None, gt=0, description="Largest absolute value; None: there is none.")


class Mask(Frozen):
    """Which readings are missing: those of a range of time."""

    start: int = Field(0, ge=0, description="First time step that is missing.")
    stop: int | None = Field(None, description="First time step after these; None: the end.")
