"""How a Gaussian is built, and how it samples."""

from __future__ import annotations

from pydantic import Field

from morphogen.core.config import Frozen
from morphogen.core.plugins import ModelEntry
from morphogen.core.space import Grid, Space


class Options(Frozen):
    """How to build a Gaussian."""

    floor: float = Field(1e-2, gt=0, description="The least standard deviation.")


class Controls(Frozen):
    """How a Gaussian samples."""

    temperature: float = Field(1.0, ge=0, description="Scale of the noise.")


MODELS: dict[type[Space], ModelEntry] = {Grid: ModelEntry("grid", Options, Controls)}
