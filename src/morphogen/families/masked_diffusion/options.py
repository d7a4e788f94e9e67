"""How a masked diffusion model is built, and how it samples."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...core.config import Frozen


class Options(Frozen):
    """How to build a masked diffusion model."""

    width: int = Field(128, ge=16, multiple_of=16, description="Channels of the transformer.")
    layers: int = Field(4, ge=1, description="Layers of the transformer.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout after attention and perceptron.")
    condition_drop: float = Field(0.1, ge=0, lt=1, description="Share of samples trained without their condition.")


# What the probe may choose among for a budget, smallest first.
SIZES = tuple(
    {"width": width, "layers": layers}
    for width, layers in ((64, 3), (96, 4), (128, 4), (160, 5), (192, 6), (256, 8), (384, 10), (512, 12))
)


class Controls(Frozen):
    """How a masked diffusion model samples.

    Of each symbol in this order: guidance, temperature, and what is cut off; all neutral by default but the guidance.
    """

    steps: int = Field(
        0,
        ge=0,
        description="Steps in which unknown cells are filled in, of long sequences those of one window; as many as "
        "cells: one by one. 0: that, but at most 64.",
    )
    order: Literal["random", "confidence"] = Field(
        "random",
        description="Which cells come next: any, as in training, or those the model is surest of.",
    )
    choice_temperature: float = Field(
        1.0, ge=0, description="Of the order by confidence: 0 is strictly so, and above 1 it becomes random."
    )
    max_length: int = Field(
        0, ge=0, description="Symbols of a sequence to draw at most; 0: as many as the context holds after a start."
    )
    min_length: int = Field(0, ge=0, description="Symbols of a sequence to draw before it may end.")
    temperature: float = Field(
        1.0, ge=0, description="Below 1 the likely symbols become likelier; 0: always the first."
    )
    top_k: int = Field(0, ge=0, description="Draw among that many of the likeliest symbols; 0: among all.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Draw among the likeliest symbols that together have this probability (nucleus)."
    )
    min_p: float = Field(
        0.0, ge=0, le=1, description="Draw among the symbols at least this share as likely as the likeliest; 0: all."
    )
    typical_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Draw among the symbols of about the expected surprise that together have this probability.",
    )
    guidance: float = Field(
        1.5, ge=0, description="Classifier-free guidance scale, where there is a condition; 1 is none."
    )
