"""The contract of a solver, and how one is named in controls, in files and on the command line."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, PlainSerializer

from ...core import plugins
from ...core.config import Frozen
from ...core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.model import Partial, Predict
    from ...core.noise import Noise
    from ..schedule import Schedule


class Solver(Frozen, ABC):
    """Integrates x from noise to data along a schedule; its fields are its settings. Each is in a file of its name."""

    order: ClassVar[int]  # of the global error in the step size, for deterministic settings; 0 where it is stochastic
    evaluations_per_step: ClassVar[int] = 1
    chooses_steps: ClassVar[bool] = False  # reads the first and the last time only

    @abstractmethod
    def solve(self, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Partial]:
        """Yield one draft per step, the predicted data; the last is the sample.

        x `(B, *shape)` is at `times[0]`; times `(steps + 1,)` run from noise to data. Computes elementwise in x, so
        that a sample is the same alone and in a batch.
        """

    @property
    def name(self) -> str:
        """Return the name under which it is chosen, that of its file."""
        return type(self).__module__.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class Node:
    """A schedule at one time. α and σ are doubles for any type of x, so that bfloat16 rounds x only."""

    t: Tensor  # (B, 1, …, 1): float64 where x is, else float32
    exact: Tensor  # the same time as one float64 on the CPU
    alpha: float
    sigma: float  # exactly 0 where the noise has vanished

    @property
    def time(self) -> float:
        """Return the time as a number."""
        return self.exact.item()

    @property
    def noise_level(self) -> float:
        """Return σ/α, infinite where α is 0."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf

    @property
    def radius(self) -> float:
        """Return √(α² + σ²).

        x over it is u = cos φ · data + sin φ · noise, finite at both ends of every schedule.
        """
        return math.hypot(self.alpha, self.sigma)

    @property
    def angle(self) -> float:
        """Return φ = arctan σ/α, from 0 (data) to π/2 (noise); the ODE is du/dφ = cos φ · noise − sin φ · data."""
        return math.atan2(self.sigma, self.alpha)


@dataclass(frozen=True)
class Interval:
    """One step of a solver, from the node `now` to the node `after`."""

    step: int
    now: Node
    after: Node
    last: bool

    def draft(self, x: Tensor, data: Tensor) -> Partial:
        """Return what the step yields: the predicted data, or after the last step x, all known."""
        return draft(x if self.last else data, known=self.last)


def draft(x: Tensor, known: bool) -> Partial:
    """Return x, all or none of it known."""
    import torch

    from ...core.model import Partial

    return Partial(x, torch.full((1,) * x.ndim, known, dtype=torch.bool, device=x.device))


def node(schedule: Schedule, time: float, x: Tensor) -> Node:
    """Return the schedule at one time, with t shaped for x. Noise below 1e-5 of the data's scale counts as none."""
    import torch

    exact = torch.tensor(time, dtype=torch.float64)
    alpha, sigma = float(schedule.alpha(exact)), float(schedule.sigma(exact))
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    t = torch.full((len(x), *[1] * (x.ndim - 1)), time, dtype=dtype, device=x.device)
    return Node(t, exact, alpha, sigma if sigma > 1e-5 * alpha else 0.0)


def intervals(schedule: Schedule, times: Tensor, x: Tensor) -> Iterator[Interval]:
    """Yield the steps between `times` `(steps + 1,)`, up to the first at whose end the noise has vanished."""
    nodes = [node(schedule, time, x) for time in times.tolist()]
    pairs = [(now, after) for now, after in pairwise(nodes) if now.sigma > 0]
    for step, (now, after) in enumerate(pairs):
        yield Interval(step, now, after, last=step + 1 == len(pairs))


def resolve(value: Any) -> Any:
    """Return the solver of a name, or of `{"name": …, **settings}`; a solver is returned as it is.

    Raises UserError on an unknown name, with the nearest known one.
    """
    if isinstance(value, Solver):
        return value
    if not isinstance(value, (str, dict)):
        known = ", ".join(plugins.known("solvers"))
        raise UserError(f"a solver is {value!r}; expected a name, or a table with a name and settings. Known: {known}")
    fields = {"name": value} if isinstance(value, str) else dict(value)
    kind = plugins.sole(plugins.load("solvers", str(fields.pop("name", ""))), Solver)
    return kind(**fields)


def solvers() -> dict[str, type[Solver]]:
    """Return every solver class by name, plug-ins included."""
    return {name: plugins.sole(plugins.load("solvers", name), Solver) for name in plugins.known("solvers")}


class _AnySolverSchema:
    """Gives a field that takes any solver a JSON schema with the settings of each."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        schemas = []
        for name, kind in solvers().items():
            own = kind.model_json_schema()
            schemas.append(own | {"properties": {"name": {"const": name}, **own["properties"]}, "required": ["name"]})
        return {"oneOf": schemas}


# Chosen by name among all solvers, plug-ins included; dumped with its name and all settings.
AnySolver = Annotated[
    Solver,
    BeforeValidator(resolve),
    PlainSerializer(lambda solver: {"name": solver.name, **solver.model_dump()}, return_type=dict[str, Any]),
    _AnySolverSchema(),
]
