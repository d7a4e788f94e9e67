"""The contract of a metric, and the bootstrap that puts an interval beside its figure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ...core.errors import UserError


class Metric(ABC):
    """Judges generated features against real ones. One file per metric, named as the metric.

    Features are `(N, d)`, tensor or array; all sums over items are float64. The figures do not depend on the order or
    size of the batches, and what several processes saw is merged before `compute`.
    """

    ideal: ClassVar[Mapping[str, float]]  # each figure's value on many samples of one and the same distribution
    higher_is_better: ClassVar[bool] = False

    @abstractmethod
    def update(self, features: Any, real: bool) -> None:
        """Take in a batch. Raises UserError on NaN, infinity or another width."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The figures, by the names in `ideal`. Raises UserError that says how many samples are wanting."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in all that another metric of this kind has seen."""


def checked(features: Any, width: int | None = None, *, dtype: torch.dtype | None = torch.float64) -> Tensor:
    """The features as float64 `(N, d)`, or as `dtype`; None: float32 stays as it is.

    Raises UserError on another shape or width, on NaN and on infinity.
    """
    x = torch.as_tensor(features).detach().cpu()
    x = x.to(dtype or (torch.float32 if x.dtype == torch.float32 else torch.float64))
    if x.ndim != 2:
        raise UserError(f"features have shape {tuple(x.shape)}; expected (samples, dimensions)")
    if width is not None and x.shape[1] != width:
        raise UserError(f"features have {x.shape[1]} dimensions; expected {width}, as in the batches before")
    if not x.sum().isfinite() and not (finite := x.isfinite().all(dim=1)).all():
        row = int(finite.logical_not().nonzero()[0])
        raise UserError(f"row {row} of the features is NaN or infinite; look at the samples or the feature extractor")
    return x


def enough(name: str, needed: int, real: int, generated: int) -> None:
    """Raises UserError where a metric has too few samples of either side."""
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
    """The interval of a statistic at this number of samples, by resampling both sides with replacement.

    `statistic` takes how often each real and each generated item was drawn (float64, `(N,)`) and must be exact for
    such weights. A plug-in statistic is biased, and resampling adds that bias a second time (Efron & Tibshirani 1993,
    chapter 10): the resampled values are moved by their mean's distance to the statistic itself.
    """
    random = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        return torch.randint(count, (count,), generator=random).bincount(minlength=count).double()

    values = torch.tensor([statistic(draw(real), draw(generated)) for _ in range(resamples)], dtype=torch.float64)
    here = statistic(torch.ones(real, dtype=torch.float64), torch.ones(generated, dtype=torch.float64))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = (torch.quantile(values, tails) - values.mean() + here).tolist()
    return low, high
