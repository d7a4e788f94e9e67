"""Options and controls of the masked diffusion models, one set for each kind of space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from ...core.config import ReadIf
from ...core.plugins import ModelEntry
from ...core.space import Space, Tokens, TokenSequence
from ...nn.transformer_options import TRANSFORMER_SIZES, TransformerOptions
from ...sampling.token_controls import GuidedControls, LengthControls


class Options(TransformerOptions):
    """How a masked diffusion model is built."""


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


class SequenceControls(UnmaskingControls, LengthControls):
    """How a masked diffusion model samples token sequences."""


MODELS: Mapping[type[Space], ModelEntry] = {
    Tokens: ModelEntry("tokens", Options, TokensControls, TRANSFORMER_SIZES),
    TokenSequence: ModelEntry("sequence", Options, SequenceControls, TRANSFORMER_SIZES),
}
