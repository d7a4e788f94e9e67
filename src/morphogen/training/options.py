"""How training is run; imports no torch, for the command line reads it first."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..core.config import Frozen


class TrainOptions(Frozen):
    """How training is run. What is None is chosen by the family, or by the start-up probe, which says so."""

    steps: int | None = Field(None, ge=1, description="Train this many steps instead of for some minutes.")
    batch: int | None = Field(None, ge=1, description="Items a step, over all processes.")
    accumulate: int = Field(1, ge=1, description="Parts a batch is cut into, to save memory.")
    lr: float | None = Field(None, gt=0, description="Peak learning rate; None: the family's, for each phase.")
    optimizer: Literal["adamw", "muon"] | None = Field(
        None, description="muon: Muon for inner matrices, AdamW elsewhere; None: the family's, for each part."
    )
    weight_decay: float | None = Field(None, ge=0, description="Decoupled weight decay; None: the family's.")
    warm_up: float = Field(0.02, ge=0, le=1, description="Share of a phase over which the rate rises from 0.")
    hold: float | None = Field(
        None, ge=0, le=1, description="Share of a phase after which the rate falls linearly to 0; None: the family's."
    )
    clip: float | None = Field(None, gt=0, description="Largest norm of the gradient; None: the family's.")
    average: float | None = Field(
        None, gt=0, description="Half-life of the averaged weights, as a share of a phase; None: the family's."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: fp32, or bf16 where that runs faster; fp16 on GPUs without bf16."
    )
    compile: bool = Field(False, description="Compile the model; pays on GPUs and in long runs.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of the order of the data, the initial weights and the noise.")
    save_seconds: float = Field(60.0, gt=0, description="Between checkpoints.")
    previews: int = Field(5, ge=0, description="Preview sheets over the run.")
