"""The contract of a solver, and how one is named in controls, in files and on the command line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, PlainSerializer

from ...core import plugins
from ...core.config import Frozen

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict
    from ...core.noise import Noise
    from ..path import Path


class Solver(Frozen, ABC):
    """Carries x from noise to data along a path; its fields are its settings. One file per solver, named as the solver."""

    order: ClassVar[int]  # of the global error in the step size, for deterministic settings; 0 where it is stochastic
    evaluations_per_step: ClassVar[int] = 1

    @abstractmethod
    def solve(self, path: Path, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        """Yield one draft per step, the predicted data; the last is the sample.

        x `(B, *shape)` at `times[0]`; times `(steps + 1,)`, from noise to data. Elementwise in x, so that a sample is
        the same alone and in a batch.
        """

    @property
    def name(self) -> str:
        return type(self).__module__.rsplit(".", 1)[-1]


def resolve(value: Any) -> Any:
    """A solver from its name, from `{"name": …, **settings}`, or itself. Raises UserError on an unknown name."""
    if isinstance(value, Solver):
        return value
    fields = {"name": value} if isinstance(value, str) else dict(value)
    kind = plugins.sole(plugins.load("solvers", fields.pop("name")), Solver)
    return kind(**fields)


# Chosen by name among plug-ins, dumped in full with its name.
AnySolver = Annotated[
    Solver,
    BeforeValidator(resolve),
    PlainSerializer(lambda solver: {"name": solver.name, **solver.model_dump()}, return_type=dict[str, Any]),
]
