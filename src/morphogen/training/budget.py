"""The budget of training: steps, or seconds of wall clock, of which some are kept for what follows the last step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..core.model import GenerativeModel

_CALIBRATION_SHARE, _CALIBRATION_SECONDS = 0.05, 10.0  # of the seconds, and at most: what calibration may take
_MOST = 0.15  # of the seconds: what is kept at most


@dataclass
class Budget:
    """How long to train: a number of steps, seconds of wall clock, or both, whichever ends first.

    Of the seconds, `reserve` are kept for what comes after the last step; it may change while the model trains.
    """

    steps: int | None = None
    seconds: float | None = None
    reserve: float = 0.0

    def progress(self, step: int, seconds: float) -> float:
        """Return the fraction of the budget that is used."""
        fractions = [step / self.steps] if self.steps else []
        return max([*fractions, seconds / self.training_seconds] if self.seconds else fractions)

    @property
    def training_seconds(self) -> float:
        """The seconds until the last step; infinite where there is no limit."""
        return self.seconds - self.reserve if self.seconds else math.inf


def calibration_seconds(model: GenerativeModel, budget: Budget) -> float | None:
    """Return the seconds that `calibrate` may take; None: there is no limit."""
    if budget.seconds is None:
        return None
    if type(model).calibrate is GenerativeModel.calibrate:
        return 0.0
    return min(_CALIBRATION_SHARE * budget.seconds, _CALIBRATION_SECONDS)


@dataclass
class Reserve:
    """What follows the last step: a last validation, calibration and saving, as long as they took in this run."""

    budget: Budget
    calibration: float
    _longest: dict[str, float] = field(default_factory=dict)  # seconds by what they were spent on

    def measured(self, name: str, seconds: float) -> None:
        """Take note of how long a validation or a checkpoint took, and keep the time for one more."""
        self._longest[name] = max(seconds, self._longest.get(name, 0.0))
        if self.budget.seconds is not None:
            self.budget.reserve = min(self.calibration + sum(self._longest.values()), _MOST * self.budget.seconds)
