"""Options and controls of the masked diffusion models, one set for each kind of space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from ...core.config import Frozen, ReadIf
from ...core.plugins import ModelEntry
from ...core.space import Space, Tokens, TokenSequence
from ...sampling.token_controls import GuidedControls


class Options(Frozen):
    """How a masked diffusion model is built."""

    width: int = Field(128, ge=16, multiple_of=16, description="Width of the transformer.")
    layers: int = Field(4, ge=1, description="Layers of the transformer.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout after attention and MLP.")
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="Fraction of training items without their condition, for guidance."
    )


class UnmaskingControls(GuidedControls):
    """How masked tokens are revealed."""

    read_if: ClassVar[tuple[ReadIf, ...]] = (
        *GuidedControls.read_if,
        ReadIf(("choice_temperature",), "order", ("confidence",)),
    )

    steps: int = Field(
        0,
        ge=0,
        description="Steps in which masked tokens are revealed, for long sequences those of one window; as many as "
        "tokens: one by one. 0: that, but at most 64.",
    )
    order: Literal["random", "confidence"] = Field(
        "random", description="Which tokens are revealed first: random ones, as in training, or the most certain."
    )
    choice_temperature: float = Field(
        1.0, ge=0, description="Randomness of the order by confidence: 0 is strict, a high value random."
    )


class TokensControls(UnmaskingControls):
    """How a masked diffusion model samples grids of tokens."""


class SequenceControls(UnmaskingControls):
    """How a masked diffusion model samples token sequences."""

    max_length: int = Field(
        0, ge=0, description="Most tokens to generate for a sequence; 0: as many as fit in the context after a start."
    )
    min_length: int = Field(0, ge=0, description="Tokens to generate before a sequence may end.")


# What the probe chooses among for a budget, smallest first.
_SIZES = tuple(
    {"width": width, "layers": layers}
    for width, layers in ((64, 3), (96, 4), (128, 4), (160, 5), (192, 6), (256, 8), (384, 10), (512, 12))
)

MODELS: Mapping[type[Space], ModelEntry] = {
    Tokens: ModelEntry("tokens", Options, TokensControls, _SIZES),
    TokenSequence: ModelEntry("sequence", Options, SequenceControls, _SIZES),
}
