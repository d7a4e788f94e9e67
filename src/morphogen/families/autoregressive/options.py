"""Options and controls of the autoregressive models, one set for each kind of space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from ...core.config import Frozen, ReadIf
from ...core.plugins import ModelEntry
from ...core.space import Row, Space, Tokens, TokenSequence
from ...nn.transformer_options import TRANSFORMER_SIZES, TransformerOptions
from ...sampling.token_controls import LengthControls, LogitControls, TokenControls

# On 31,600 rows of Adult a dropout of .4 and a weight decay of .3 were best of a few. On 179,000 synthetic rows the
# validation loss was 1.3572 with these, and 1.3537 with .1 and .03.
_ROWS, _DROPOUT, _DECAY = 30_000, 0.4, 0.3
# Of fewer rows a model of this width learns which rows they are: README.md, "Few rows".
_FEW_ROWS, _WIDTH = 8_000, 256
_NARROW, _VERY_FEW_ROWS, _NARROWEST = 128, 2_000, 64
_MOST_DECAY = 8.0


class TokensOptions(TransformerOptions):
    """How an autoregressive model of grids of tokens is built."""

    inpaint_prob: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Fraction of training items with random known tokens; 0 trains continuation only.",
    )


class SequenceOptions(TransformerOptions):
    """How an autoregressive model of token sequences is built."""

    ngram_order: int = Field(
        7, ge=0, le=16, description="Highest n-gram order mixed into predictions; 0 disables n-grams."
    )


class RowOptions(Frozen):
    """How an autoregressive model of rows is built: one MLP for each field's token."""

    width: int | None = Field(
        None,
        ge=16,
        multiple_of=16,
        description="Hidden units of each MLP; None: 256, 128 below 8,000 rows, 64 below 2,000.",
    )
    embedding: int | None = Field(
        None, ge=16, multiple_of=16, description="Width of the token embeddings; None: the width's default."
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout after each hidden layer; None: .4, less from 30,000 rows on."
    )
    weight_decay: float | None = Field(
        None, ge=0, description="Decoupled weight decay; None: .3, less from 30,000 rows on, more below 8,000."
    )
    in_order: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Fraction of training rows predicted in the order of their fields; the others in random order.",
    )

    def resolve(self, rows: int) -> RowOptions:
        """Return the options for that many rows, 0 where it is unknown; fields that are set stay.

        With more than 30,000 rows dropout falls with their square root and weight decay with their number; with fewer
        than 8,000 weight decay rises as it would fall, and the network is narrower.
        """
        rows = rows or _ROWS
        many, few = min(1.0, _ROWS / rows), max(1.0, _FEW_ROWS / rows)
        width = _WIDTH if rows >= _FEW_ROWS else _NARROW if rows >= _VERY_FEW_ROWS else _NARROWEST
        defaults = {
            "width": width,
            "embedding": width,
            "dropout": round(_DROPOUT * many**0.5, 3),
            "weight_decay": min(_MOST_DECAY, round(_DECAY * many * few, 4)),
        }
        return self.model_copy(update={name: value for name, value in defaults.items() if getattr(self, name) is None})


class TransformerControls(LogitControls):
    """How a causal transformer samples."""

    weights: Literal["fp32", "bf16", "int8"] = Field(
        "fp32",
        description="Precision of the weights while decoding: bf16 is faster for many samples, int8 for few; less "
        "exact.",
    )


class TokensControls(TransformerControls):
    """How an autoregressive model samples grids of tokens."""


class SequenceControls(TransformerControls, LengthControls):
    """How an autoregressive model samples token sequences."""

    read_if: ClassVar[tuple[ReadIf, ...]] = (
        *TransformerControls.read_if,
        ReadIf(("length_penalty",), "beams", above=1),
        # A beam search does not sample.
        ReadIf(("temperature", "top_k", "top_p", "min_p", "typical_p", "best_of"), "beams", (1,)),
    )

    best_of: int = Field(1, ge=1, description="Sample each sequence this often and keep the likeliest per token.")
    beams: int = Field(1, ge=1, description="Above 1: beam search with this many beams in place of sampling.")
    length_penalty: float = Field(
        1.0, ge=0, description="Beam search divides ln p by the length to this power; 0 favours short sequences."
    )


class RowControls(TokenControls):
    """How an autoregressive model samples rows."""


MODELS: Mapping[type[Space], ModelEntry] = {
    TokenSequence: ModelEntry("sequence", SequenceOptions, SequenceControls, TRANSFORMER_SIZES),
    Row: ModelEntry("row", RowOptions, RowControls),
    Tokens: ModelEntry("tokens", TokensOptions, TokensControls, TRANSFORMER_SIZES),
}
