"""Options of training; imports no torch, because the command line reads them first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from ..core import plugins
from ..core.config import Frozen, build
from ..core.errors import UserError, unknown
from ..core.space import Space


class TrainOptions(Frozen):
    """How the model is trained. None: the model, or the start-up probe, chooses and prints the choice."""

    steps: int | None = Field(None, ge=1, description="Number of training steps; replaces --minutes.")
    batch: int | None = Field(None, ge=1, description="Batch size over all processes; None: the probe chooses.")
    grad_accumulation: int = Field(
        1, ge=1, description="Micro-batches per batch, whose gradients are summed: less memory, the same result."
    )
    lr: float | None = Field(None, gt=0, description="Peak learning rate of every phase; None: the model's, by phase.")
    optimizer: Literal["muon", "adamw"] = Field(
        "muon",
        description="muon: Muon for matrices that the model names, AdamW for the rest; adamw: AdamW for all.",
    )
    weight_decay: float | None = Field(None, ge=0, description="Decoupled weight decay; None: the model's.")
    warm_up: float = Field(0.02, ge=0, le=1, description="Fraction of a phase with a linear warm-up from 0.")
    decay_start: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Fraction of a phase from which the rate decays linearly to 0; None: the model's.",
    )
    clip: float | None = Field(None, gt=0, description="Maximum gradient norm; None: the model's.")
    ema_half_life: float | None = Field(
        None, gt=0, description="Half-life of the weights' moving average, a fraction of a phase; None: the model's."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: fp32, or half precision where it is faster: bf16, or fp16 on GPUs without bf16."
    )
    threads: int | None = Field(
        None, ge=1, description="Threads of each process; None: what is fastest beside the machine's other programs."
    )
    compile: bool = Field(False, description="Use torch.compile; pays on GPUs and in long runs.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of initial weights, order of the data, and noise.")
    save_seconds: float = Field(60.0, gt=0, description="Seconds between checkpoints.")
    previews: int = Field(5, ge=0, description="Number of previews during training.")


def model_options(family: str, kind: type[Space], values: Mapping[str, Any]) -> Frozen:
    """Return the options of a family's model of that kind of space. Raises UserError as `check_names` does."""
    check_names(family, kind, values)
    return build(plugins.entry_for(family, kind).Options, values, "options")


def check_names(family: str, kind: type[Space], names: Iterable[str]) -> None:
    """Raise UserError on an option that the family's model of that kind of space does not have.

    Where the family's model of another kind has it, the message says so.
    """
    entries = plugins.models(family)
    fields = plugins.entry_for(family, kind).Options.model_fields
    for name in names:
        if name in fields:
            continue
        others = [other.plural for other, entry in entries.items() if name in entry.Options.model_fields]
        if not others:
            raise unknown("field of options", name, fields)
        hint = str(unknown("field of options", name, fields)).partition("; ")[2]
        raise UserError(
            f"the {family} model of {kind.plural} has no option '{name}', only that of {' and '.join(others)} has; "
            f"{hint}"
        )
