"""Options that the families of tokens share; imports no torch."""

from __future__ import annotations

from pydantic import Field

from ..core.config import Frozen


class TransformerOptions(Frozen):
    """How a transformer is built."""

    width: int = Field(128, ge=16, multiple_of=16, description="Width of the transformer.")
    layers: int = Field(4, ge=1, description="Layers of the transformer.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout after attention and MLP.")
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="Fraction of training items without their condition, for guidance."
    )


# What the probe chooses among for a budget, smallest first.
TRANSFORMER_SIZES = tuple(
    {"width": width, "layers": layers}
    for width, layers in ((64, 3), (96, 4), (128, 4), (160, 5), (192, 6), (256, 8), (384, 10), (512, 12))
)
