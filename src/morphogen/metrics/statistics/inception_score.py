"""The Inception Score: confident and varied predictions of a classifier (Salimans et al. 2016)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...core.errors import UserError

_LEAST = 20  # items of a split


def inception_score(probabilities: Tensor, *, splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Return exp E KL(p(y|x) ‖ p(y)) of probabilities `(N, classes)`: the mean over splits, and its standard error.

    From 1 to the number of classes. It grows with the number of items: compare at equal numbers only. It is blind to
    variety within a class: one perfect item a class has the best score. Raises UserError with fewer than 20 items a
    split.
    """
    if len(probabilities) < _LEAST * splits:
        raise UserError(
            f"the Inception Score needs at least {_LEAST * splits} items, {_LEAST} for each of {splits} splits; found "
            f"{len(probabilities)}"
        )
    order = torch.randperm(len(probabilities), generator=torch.Generator().manual_seed(seed))
    scores = torch.stack([_score(part) for part in probabilities.double()[order].tensor_split(splits)])
    error = float(scores.std() / splits**0.5) if splits > 1 else math.nan
    return float(scores.mean()), error


def _score(p: Tensor) -> Tensor:
    mean = p.mean(0)
    # x log x is 0 at 0.
    divergence = (torch.special.xlogy(p, p) - torch.special.xlogy(p, mean)).sum(1)
    return divergence.mean().exp()
