"""The contract of a metric, and the bootstrap that puts an interval beside its value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.results import Better, Group


@dataclass(frozen=True)
class FigureInfo:
    """How a report presents one figure of a metric.

    `name` is what the literature calls it; `meaning` says in a sentence what a user can decide from it. `ideal` is its
    value on many samples of one and the same distribution. An interval is cut to `minimum` and `maximum`. `published`
    maps an extractor with published weights to the name that the figure has there, such as FID.
    """

    name: str
    meaning: str
    ideal: float
    better: Better = "lower"
    group: Group = "fidelity"
    minimum: float | None = None
    maximum: float | None = None
    published: Mapping[str, str] = field(default_factory=dict)


class Metric(ABC):
    """Compares generated features with real ones. One file per metric, named as the metric.

    Features are `(N, d)`, tensor or array; all sums over items are float64. The figures do not depend on the order or
    size of the batches, and instances that saw different batches are merged before `compute`.
    """

    figures: ClassVar[Mapping[str, FigureInfo]]  # by key
    position: ClassVar[int] = 100  # in a report, the lowest first

    @classmethod
    def min_items(cls, dimensions: int) -> int:
        """Return how many items of each side `compute` needs, for features of so many dimensions."""
        return 2

    @abstractmethod
    def update(self, features: Any, real: bool) -> None:
        """Add a batch of real or of generated features. Raises UserError on NaN, infinity or another width."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return the figures, by the keys of `figures`. Raises UserError that says how many items are needed."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add everything that another instance of this metric has seen."""


def checked(features: Any, width: int | None = None, *, keep_float32: bool = False) -> Tensor:
    """Return the features as float64 `(N, d)`, on the CPU; with `keep_float32`, float32 stays as it is.

    Raises UserError on another shape or width, on NaN and on infinity.
    """
    x = torch.as_tensor(features).detach().cpu()
    if not (keep_float32 and x.dtype == torch.float32):
        x = x.double()
    if x.ndim != 2:
        raise UserError(f"features have shape {tuple(x.shape)}; expected (samples, dimensions)")
    if width is not None and x.shape[1] != width:
        raise UserError(f"features have {x.shape[1]} dimensions; expected {width}, as in the batches before")
    if not x.sum().isfinite() and not (finite := x.isfinite().all(dim=1)).all():
        index = int(finite.logical_not().nonzero()[0])
        raise UserError(
            f"feature vector {index} is NaN or infinite; look at sample {index} or at the feature extractor"
        )
    return x


def require_items(name: str, needed: int, real: int, generated: int) -> None:
    """Raise UserError where a metric has too few samples of either side."""
    if min(real, generated) < needed:
        raise UserError(
            f"{name} needs at least {needed} samples of each side; found {real} real, {generated} generated"
        )


def bootstrap(
    statistic: Callable[[Tensor, Tensor], float],
    *,
    real: int,
    generated: int,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the interval of a statistic at this number of samples, by resampling both sides with replacement.

    `statistic` takes how often each real and each generated item was drawn (float64, `(N,)`) and must be exact for
    such weights. A plug-in statistic is biased, and resampling adds that bias a second time (Efron & Tibshirani 1993,
    chapter 10): the resampled values are moved by their mean's distance to the statistic itself.
    """
    random = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        return torch.randint(count, (count,), generator=random).bincount(minlength=count).double()

    values = torch.tensor([statistic(draw(real), draw(generated)) for _ in range(resamples)], dtype=torch.float64)
    estimate = statistic(torch.ones(real, dtype=torch.float64), torch.ones(generated, dtype=torch.float64))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = (torch.quantile(values, tails) - values.mean() + estimate).tolist()
    return low, high
