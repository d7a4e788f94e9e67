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
    from ..path import Path


class Solver(Frozen, ABC):
    """Carries x from noise to data along a path; its fields are its settings. One file per solver, named as it."""

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


@dataclass(frozen=True)
class Instant:
    """One time on a path. α and σ are doubles whatever x is, so that a step is as exact in bfloat16 as x itself."""

    t: Tensor  # (B, 1, …, 1): float64 where x is, else float32
    exact: Tensor  # the same time as one float64 on the CPU
    alpha: float
    sigma: float  # exactly 0 where the noise has vanished

    @property
    def time(self) -> float:
        return self.exact.item()

    @property
    def noise_level(self) -> float:
        """σ/α, infinite where α is 0."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf

    @property
    def radius(self) -> float:
        """√(α² + σ²): x over it is u = cos φ · data + sin φ · noise, finite at both ends of every path."""
        return math.hypot(self.alpha, self.sigma)

    @property
    def angle(self) -> float:
        """φ = arctan σ/α, from 0 (data) to π/2 (noise); dx along the path is du/dφ = cos φ · noise − sin φ · data."""
        return math.atan2(self.sigma, self.alpha)


@dataclass(frozen=True)
class Leg:
    """One step of a schedule, from `now` to `after`."""

    step: int
    now: Instant
    after: Instant
    last: bool

    def draft(self, x: Tensor, data: Tensor) -> Partial:
        """What the step yields: the predicted data, and after the last step x itself, all known."""
        return draft(x if self.last else data, known=self.last)


def draft(x: Tensor, known: bool) -> Partial:
    """x, all of it known or none of it."""
    import torch

    from ...core.model import Partial

    return Partial(x, torch.full((1,) * x.ndim, known, dtype=torch.bool, device=x.device))


def instant(path: Path, time: float, x: Tensor) -> Instant:
    """The path at one time, with t shaped for x. Noise below 1e-5 of the data's scale has vanished."""
    import torch

    exact = torch.tensor(time, dtype=torch.float64)
    alpha, sigma = float(path.alpha(exact)), float(path.sigma(exact))
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    t = torch.full((len(x), *[1] * (x.ndim - 1)), time, dtype=dtype, device=x.device)
    return Instant(t, exact, alpha, sigma if sigma > 1e-5 * alpha else 0.0)


def legs(path: Path, times: Tensor, x: Tensor) -> Iterator[Leg]:
    """The steps of `times` `(steps + 1,)`; the noise vanishes at most once, what would follow is left out."""
    instants = [instant(path, time, x) for time in times.tolist()]
    pairs = [(now, after) for now, after in pairwise(instants) if now.sigma > 0]
    for step, (now, after) in enumerate(pairs):
        yield Leg(step, now, after, last=step + 1 == len(pairs))


def resolve(value: Any) -> Any:
    """A solver from its name, from `{"name": …, **settings}`, or itself. Raises UserError on an unknown name."""
    if isinstance(value, Solver):
        return value
    if not isinstance(value, (str, dict)):
        known = ", ".join(plugins.known("solvers"))
        raise UserError(f"a solver is a name or its settings, found {value!r}; known: {known}")
    fields = {"name": value} if isinstance(value, str) else dict(value)
    kind = plugins.sole(plugins.load("solvers", str(fields.pop("name", ""))), Solver)
    return kind(**fields)


def solvers() -> dict[str, type[Solver]]:
    """Every solver there is, plug-ins included."""
    return {name: plugins.sole(plugins.load("solvers", name), Solver) for name in plugins.known("solvers")}


class _OneOfAll:
    """Every solver with its settings, as the JSON schema of a field that takes any."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        kinds = []
        for name, kind in solvers().items():
            one = kind.model_json_schema()
            kinds.append(one | {"properties": {"name": {"const": name}, **one["properties"]}, "required": ["name"]})
        return {"oneOf": kinds}


# Chosen by name among plug-ins, dumped in full with its name.
AnySolver = Annotated[
    Solver,
    BeforeValidator(resolve),
    PlainSerializer(lambda solver: {"name": solver.name, **solver.model_dump()}, return_type=dict[str, Any]),
    _OneOfAll(),
]
