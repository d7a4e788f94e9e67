"""The stages of training: the parts of the budget in each of which the same phases run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..core.model import Phase


class Stage(NamedTuple):
    """Phases that run at the same time, in a part of the budget."""

    phases: tuple[Phase, ...]
    span: tuple[float, float]

    @property
    def name(self) -> str:
        return " and ".join(phase.name for phase in self.phases)

    @property
    def share(self) -> float:
        """The share of the budget in which it runs."""
        return self.span[1] - self.span[0]


def stages(phases: Iterable[Phase]) -> list[Stage]:
    """Return the stages in their order; a phase with an empty span is in none of them."""
    phases = list(phases)
    bounds = sorted({bound for phase in phases for bound in phase.span})
    parts = [
        Stage(tuple(phase for phase in phases if phase.span[0] <= low and high <= phase.span[1]), (low, high))
        for low, high in pairwise(bounds)
    ]
    return [part for part in parts if part.phases]


def stage_at(stages: Sequence[Stage], progress: float) -> int:
    """Return the number of the stage that trains after that fraction of the budget; at its end, of the last one."""
    return min(sum(stage.span[1] <= progress for stage in stages), len(stages) - 1)
