"""How many threads a fit computes with: which numbers there are to choose from, and the choice while it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import joblib
import torch

from ..core.errors import UserError

_WINDOW = 1.0  # seconds of steps whose rate is compared with the best one
_DEVIATION = 1.3  # a rate that is so many times higher or lower than the best one …
_PATIENCE = 3  # … in so many windows in a row says that the load has changed
_LEG, _ROUNDS = 0.3, 2  # of a trial: seconds of steps at each number of threads, and how often each has its turn
_HOPELESS = 3.0  # a number of threads whose first step takes so many times longer is not tried further
_GAIN = 1.1  # what another number of threads has to gain
_EVERY, _COST = 10.0, 20.0  # seconds from one trial to the next: at least those, and so many times what it lost


def candidates(fixed: int | None, device: torch.device, processes: int) -> tuple[int, ...]:
    """Return the numbers of threads to choose from: one, half and all that this process may use.

    There is no choice where the number is `fixed`, a GPU computes, or several processes wait for each other. Raises
    UserError where more are fixed than there are cores.
    """
    cores = joblib.cpu_count()  # of the processor, the affinity mask and the container, the smallest number
    if fixed is not None:
        if fixed > max(cores, torch.get_num_threads()):
            raise UserError(f"--train.threads is {fixed}, and this process may use {cores} cores; give at most {cores}")
        return (fixed,)
    most = min(torch.get_num_threads(), cores)
    if device.type != "cpu" or processes > 1:
        return (most,)
    return tuple(sorted({1, max(1, most // 2), most}))


class Change(NamedTuple):
    """Another number of threads, from a step on; `rates` are the steps per second at each number that was tried."""

    step: int
    threads: int
    rates: dict[int, float]


@dataclass
class Steps:
    """Steps of training, and the seconds that they took."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count, self.seconds = self.count + 1, self.seconds + seconds

    @property
    def rate(self) -> float:
        return self.count / max(self.seconds, 1e-9)


@dataclass
class _Trial:
    """Training at several numbers of threads in turn."""

    legs: list[int]  # the numbers of threads still to come, that of now first
    steps: dict[int, Steps]
    all: Steps = field(default_factory=Steps)
    leg: Steps = field(default_factory=Steps)
    warm: bool = False  # whether this leg has had a step


class ThreadTuner:
    """Watches the speed of training, and chooses the fastest number of threads whenever the load may have changed.

    It tries the other numbers on ordinary steps, so that none is wasted: at the start of each stage of training, when
    the rate stays far from the best one of this number, and from time to time, because an idle core does not change the
    rate of the others.
    """

    def __init__(
        self, numbers: Sequence[int], threads: int, set_threads: Callable[[int], None] = torch.set_num_threads
    ) -> None:
        """`numbers` are to choose from, `threads` is the one of now; `set_threads` puts another one into effect."""
        self.numbers, self.threads, self._set_threads = tuple(numbers), threads, set_threads
        self._stage = 0
        self._restart()

    def _restart(self) -> None:
        self._window = Steps()
        self._best = 0.0  # steps per second
        self._deviations = 0
        self._until_trial = 0.0  # seconds
        self._trial: _Trial | None = None

    def observe(self, step: int, seconds: float, stage: int = 0) -> Change | None:
        """Take note of a step and the seconds that it took; return the change where the number of threads changes.

        Rates are compared within a stage of training, in which all steps do the same work.
        """
        if len(self.numbers) < 2:
            return None
        if stage != self._stage:
            self._stage = stage
            self._restart()
            self._set_threads(self.threads)  # a trial may not have ended
            return None  # the first step of a network takes longer
        if self._trial is not None:
            return self._continue(self._trial, step, seconds)
        self._until_trial -= seconds
        self._window.add(seconds)
        if self._window.seconds >= _WINDOW:
            rate, self._window = self._window.rate, Steps()
            far = self._best > 0 and not 1 / _DEVIATION < rate / self._best < _DEVIATION
            self._deviations = self._deviations + 1 if far else 0
            self._best = self._best or rate
            if self._until_trial <= 0 or self._deviations >= _PATIENCE:
                self._begin()
        return None

    def _begin(self) -> None:
        order = [self.threads, *(number for number in self.numbers if number != self.threads)]
        self._trial = _Trial(order * _ROUNDS, {number: Steps() for number in order})

    def _continue(self, trial: _Trial, step: int, seconds: float) -> Change | None:
        """Take note of a step within a trial; go on to the next leg, or end the trial."""
        number = trial.legs[0]
        trial.all.add(seconds)
        own = trial.steps[self.threads]
        if not trial.warm:  # the first step at another number of threads also makes them
            trial.warm = True
            hopeless = number != self.threads and own.count and seconds > _HOPELESS / own.rate + _LEG
            if not hopeless:
                return None
            trial.steps[number].add(seconds)
            trial.legs = [other for other in trial.legs if other != number]
        else:
            trial.leg.add(seconds)
            trial.steps[number].add(seconds)
            if trial.leg.seconds < _LEG:
                return None
            trial.legs = trial.legs[1:]
        trial.leg, trial.warm = Steps(), False
        if trial.legs:
            self._set_threads(trial.legs[0])
            return None
        return self._end(trial, step)

    def _end(self, trial: _Trial, step: int) -> Change | None:
        rates = {number: steps.rate for number, steps in trial.steps.items()}
        fastest = max(rates, key=lambda number: rates[number])
        before, self.threads = self.threads, fastest if rates[fastest] > _GAIN * rates[self.threads] else self.threads
        self._set_threads(self.threads)
        self._trial, self._window = None, Steps()
        self._best, self._deviations = rates[self.threads], 0
        lost = trial.all.seconds - trial.all.count / self._best
        self._until_trial = max(_EVERY, _COST * lost)
        return Change(step, self.threads, rates) if self.threads != before else None
