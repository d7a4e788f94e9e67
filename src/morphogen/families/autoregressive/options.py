"""How an autoregressive model is built, and how it samples."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...core.config import Frozen

# On 31,600 rows of Adult a dropout of .4 and a decay of .3 were best of a few. On 179,000 planted ones the loss on rows
# kept from training was 1.3572 with these, and 1.3537 with .1 and .03.
_ROWS, _DROPOUT, _DECAY = 30_000, 0.4, 0.3


class ColumnOptions(Frozen):
    """How the networks of rows of columns are built, one for each position."""

    width: int = Field(256, ge=16, multiple_of=16, description="Hidden units of each position's perceptron.")
    embedding: int = Field(256, ge=16, multiple_of=16, description="Numbers that what is visible is summed up in.")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout after each hidden layer; None: .4, of more than 30,000 rows less."
    )
    weight_decay: float | None = Field(
        None, ge=0, description="Decoupled weight decay; None: .3, of more than 30,000 rows less."
    )
    in_order: float = Field(
        0.5, ge=0, le=1, description="Share of rows trained in the columns' own order; the others in any."
    )

    def settled(self, rows: int) -> ColumnOptions:
        """With what was left open settled for so many rows: dropout falls with their root, decay with their number."""
        few = min(1.0, _ROWS / max(1, rows))
        dropout = round(_DROPOUT * few**0.5, 3) if self.dropout is None else self.dropout
        decay = round(_DECAY * few, 4) if self.weight_decay is None else self.weight_decay
        return self.model_copy(update={"dropout": dropout, "weight_decay": decay})


class Options(Frozen):
    """How to build an autoregressive model."""

    width: int = Field(128, ge=16, multiple_of=16, description="Channels of the transformer.")
    layers: int = Field(4, ge=1, description="Layers of the transformer.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout after attention and perceptron.")
    condition_drop: float = Field(0.1, ge=0, lt=1, description="Share of samples trained without their condition.")
    counts: int = Field(
        7,
        ge=0,
        le=16,
        description="Up to how many symbols what follows them is counted, and mixed in, of sequences; 0: none.",
    )
    fill: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of items trained to be filled in around any symbols given; 0: after a start.",
    )
    columns: ColumnOptions = Field(ColumnOptions(), description="Of rows of columns, such as tables.")


# What the probe may choose among for a budget, smallest first.
SIZES = tuple(
    {"width": width, "layers": layers}
    for width, layers in ((64, 3), (96, 4), (128, 4), (160, 5), (192, 6), (256, 8), (384, 10), (512, 12))
)


class Controls(Frozen):
    """How an autoregressive model samples.

    In this order: guidance, penalties, bias, what is banned, temperature, and what is cut off; all neutral by default
    but the guidance.
    """

    max_length: int = Field(
        0, ge=0, description="Symbols of a sequence to draw at most; 0: as many as the context holds."
    )
    min_length: int = Field(0, ge=0, description="Symbols of a sequence to draw before it may end.")
    repetition_penalty: float = Field(
        1.0, gt=0, description="Above 1 what was there before is less likely: its logits are divided or multiplied."
    )
    presence_penalty: float = Field(0.0, description="Taken off the logits of what was there before.")
    frequency_penalty: float = Field(0.0, description="Taken off as often as it was there before.")
    no_repeat_ngram: int = Field(0, ge=0, description="No run of so many symbols comes twice; 0: any may.")
    logit_bias: dict[int, float] = Field({}, description="Added to the logits of some symbols, by their numbers.")
    allowed: tuple[int, ...] | None = Field(None, description="Numbers of the symbols that may be drawn; None: all.")
    banned: tuple[int, ...] = Field((), description="Numbers of the symbols that may not be drawn.")
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
    best_of: int = Field(1, ge=1, description="Draw each sequence so often, and keep the likeliest by symbol.")
    beams: int = Field(
        1, ge=1, description="Above 1 sequences are not drawn: the likeliest are searched for, with so many beams."
    )
    length_penalty: float = Field(
        1.0, ge=0, description="Of a beam search: ln p is divided by the length to this power; 0 likes short ones."
    )
    weights: Literal["fp32", "bf16", "int8"] = Field(
        "fp32",
        description="Weights as each symbol reads them: bf16 is faster for many samples, int8 for few; less exact.",
    )
    guidance: float = Field(
        1.5, ge=0, description="Classifier-free guidance scale, where there is a condition; 1 is none."
    )
