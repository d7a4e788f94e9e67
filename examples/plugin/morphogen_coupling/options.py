"""Options and controls of the models. Imports no torch: `morphogen fit --help` reads this file."""

from __future__ import annotations

from pydantic import Field

from morphogen.core.config import Frozen
from morphogen.core.plugins import ModelEntry
from morphogen.core.space import Grid, Row


class Options(Frozen):
    """How to build a coupling flow."""

    layers: int = Field(8, ge=2, description="Coupling layers; each moves half of the values.")
    width: int = Field(128, ge=8, description="Hidden width of each layer's network.")
    condition_dropout: float = Field(0.1, ge=0, lt=1, description="Share of samples trained without their condition.")


class Controls(Frozen):
    """How a coupling flow samples."""

    temperature: float = Field(1.0, ge=0, description="Scale of the noise it starts from.")


class RowOptions(Frozen):
    """How to build the model of rows."""

    width: int = Field(64, ge=8, description="Hidden width of the perceptron of each token.")


class RowControls(Frozen):
    """How the model of rows samples."""

    temperature: float = Field(1.0, gt=0, description="Divides the logits: below 1 likely values become likelier.")


# The kinds of space that this family models, and the file with the model of each.
MODELS = {Grid: ModelEntry("grid", Options, Controls), Row: ModelEntry("row", RowOptions, RowControls)}
