"""The records of a fit, each written once: what was asked for, what the data said, and what the probe chose."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError

from ..core.config import Frozen, invalid, read_json, write_json
from ..core.errors import UserError
from ..core.records import Count, FileName, Place
from ..version import __version__
from .options import TrainOptions

LOW_RES = "low_res"  # the condition of a super-resolution model
_DEFAULT_MINUTES = 10.0

Say = Callable[[str], None]  # where messages for the user go


class Record(Frozen):
    """A part of a fit's settings, in a file of its own in `OUT/training`."""

    file: ClassVar[str]

    def write(self, out: Path) -> Self:
        """Write the record into the folder of the fit."""
        write_json(out / "training" / self.file, self.model_dump(mode="json"))
        return self

    @classmethod
    def read(cls, out: Path) -> Self:
        """Return what `write` wrote. Raises UserError where it is damaged or of another version."""
        path = out / "training" / cls.file
        try:
            return cls.model_validate_json(json.dumps(read_json(path)), strict=True)
        except ValidationError as error:
            reason = invalid(error, "")
        except UserError as error:
            reason = error
        raise UserError(f"{path} cannot be read ({reason}); remove {out} and fit again")


class FitSpec(Record):
    """What was asked for, with the defaults of the modality filled in."""

    file = "spec.json"

    morphogen: str = __version__
    source: Place | None  # what opens it again, a path being relative to the model folder; None: it was in memory
    column: str | None = None
    separator: str | None = None
    modality: str
    family: str
    conditions: tuple[FileName, ...] = ()  # names of columns
    autoencoder: str | None = None  # its hash
    super_resolution: int | None = None
    options: dict[str, Any] = {}  # of the model, those given
    codec: dict[str, Any] = {}  # those given
    train: TrainOptions = TrainOptions()
    minutes: float | None = None  # None: as long as `train.steps` take

    @property
    def condition_names(self) -> tuple[str, ...]:
        """All conditions of the model."""
        return (*self.conditions, LOW_RES) if self.super_resolution else self.conditions


class Prepared(Record):
    """What the data said: the encoded examples are those to train on, then those to validate with."""

    file = "prepared.json"

    description: str  # of the source
    examples: Count  # to train on
    validation_start: Count  # the first example for validation


class Probed(Record):
    """What the start-up probe chose, and what is left of the budget. It is written last: from here on a fit resumes."""

    file = "probed.json"

    options: dict[str, Any]  # of the model, all
    batch: Annotated[int, Field(ge=1, le=2**32)]
    precision: Literal["fp32", "bf16", "fp16"]
    threads: Annotated[int, Field(ge=1, le=2**16)]  # of each process, when training starts
    items_per_second: float  # over the whole budget
    stage_rates: dict[str, float] = {}  # items per second of each stage of training, by the names of its phases
    seconds: float | None  # left to train; None: as long as the steps take
    start_seconds: float  # spent on reading, encoding and probing
    probe_seconds: float  # of these, on probing


def minutes_of(minutes: float | None, train: TrainOptions) -> float | None:
    """Return the minutes of the whole fit; None: as long as `train.steps` take. Raises UserError on a conflict."""
    if minutes is not None and (not isinstance(minutes, (int, float)) or not 0 < minutes < math.inf):
        raise UserError(f"--minutes is {minutes!r:.40}; expected a number above 0")
    if minutes is not None and train.steps is not None:
        raise UserError("give --minutes or --train.steps, not both")
    return None if train.steps else minutes or _DEFAULT_MINUTES
