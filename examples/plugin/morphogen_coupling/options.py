"""How a coupling flow is built, and how it samples; imports no torch, for `morphogen fit --help` reads it."""

from __future__ import annotations

from pydantic import Field

from morphogen.core.config import Frozen


class Options(Frozen):
    """How to build a coupling flow."""

    layers: int = Field(8, ge=2, description="Coupling layers; each moves half of the values.")
    width: int = Field(128, ge=8, description="Hidden width of each layer's network.")
    condition_drop: float = Field(0.1, ge=0, lt=1, description="Share of samples trained without their condition.")


class Controls(Frozen):
    """How a coupling flow samples."""

    temperature: float = Field(1.0, ge=0, description="Scale of the noise it starts from.")
