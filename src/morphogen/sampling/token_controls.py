"""Controls of sampling that the families of tokens share; imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ..core.config import Frozen, ReadIf

Bias = Annotated[float, Field(allow_inf_nan=True, lt=math.inf)]


class TokenControls(Frozen):
    """Which tokens a sample is drawn from, applied in this order: temperature, top-k, top-p, min-p, typical-p."""

    read_if: ClassVar[tuple[ReadIf, ...]] = (ReadIf(("top_k", "top_p", "min_p", "typical_p"), "temperature", above=0),)

    temperature: float = Field(
        1.0, ge=0, description="Divides the logits: below 1 likely tokens become likelier; 0 is greedy."
    )
    top_k: int = Field(0, ge=0, description="Sample from the k most likely tokens; 0: from all.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Nucleus sampling: from the most likely tokens that together reach this mass."
    )
    min_p: float = Field(
        0.0, ge=0, le=1, description="Sample from tokens at least this fraction as likely as the most likely; 0: all."
    )
    typical_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Sample from the tokens whose information is nearest to the entropy, up to this mass.",
    )

    @property
    def neutral(self) -> bool:
        """Whether they leave the model's distribution as it is."""
        return (self.temperature, self.top_k, self.top_p, self.min_p, self.typical_p) == (1.0, 0, 1.0, 0.0, 1.0)


class GuidedControls(TokenControls):
    """Controls of a model with conditions."""

    guidance: float = Field(
        1.5, ge=0, description="Classifier-free guidance scale, where there is a condition; 1: no guidance."
    )


class LogitControls(GuidedControls):
    """Controls that change the logits of each step by the tokens so far: guidance, penalties, bias, then bans."""

    repetition_penalty: float = Field(
        1.0, gt=0, description="Above 1, tokens that occurred become less likely: divides or multiplies their logits."
    )
    presence_penalty: float = Field(0.0, description="Subtracted from the logits of tokens that occurred.")
    frequency_penalty: float = Field(0.0, description="Subtracted from a token's logit for each time it occurred.")
    no_repeat_ngram: int = Field(0, ge=0, description="No n-gram of this length occurs twice; 0: any may.")
    logit_bias: dict[int, Bias] = Field({}, description="Added to the logits of tokens, by token id; -inf bans one.")
    allowed: tuple[int, ...] | None = Field(None, description="Ids of the only tokens that may be sampled; None: all.")
    banned: tuple[int, ...] = Field((), description="Ids of tokens that are never sampled.")

    @property
    def keeps_logits(self) -> bool:
        """Whether penalties, bias and bans are all off."""
        names = LogitControls.model_fields.keys() - GuidedControls.model_fields.keys()
        return all(getattr(self, name) == LogitControls.model_fields[name].default for name in names)


class LengthControls(Frozen):
    """How long a sequence becomes."""

    max_length: int = Field(
        0,
        ge=0,
        description="Most tokens to generate for a sequence; 0: as many as the longest training items have, or as fit "
        "in the context.",
    )
    min_length: int = Field(0, ge=0, description="Tokens to generate before a sequence may end.")

    def most(self, default: int) -> int:
        """Return how many tokens to generate at most; `default` where `max_length` is 0, raised to `min_length`."""
        return self.max_length or max(default, self.min_length)

    @model_validator(mode="after")
    def _lengths_go_together(self) -> Self:
        if self.max_length and self.min_length > self.max_length:
            raise ValueError(
                f"min_length is {self.min_length} and max_length {self.max_length}; raise max_length or lower "
                "min_length"
            )
        return self
