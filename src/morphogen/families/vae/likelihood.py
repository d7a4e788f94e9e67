"""The likelihood of a value given the decoder's output: its negative logarithm, and its mean."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LikelihoodName = Literal["gaussian", "bernoulli", "discretised_logistic"]


def negative_log_likelihood(kind: LikelihoodName, output: Tensor, x: Tensor, log_scale: Tensor, step: float) -> Tensor:
    """Return −ln p(x | output) of each item, `(B,)` in nats; output and x `(B, *shape)`, log_scale broadcastable.

    With a `step` (8-bit data) it is the probability of the bin of width `step` around x, the lowest and highest bins
    open (PixelCNN++, arXiv 1701.05517, Equation 2); without one, a density. Bernoulli: x in {-1, 1}, output logits.
    """
    if kind == "bernoulli":
        return F.binary_cross_entropy_with_logits(output, (x > 0).to(output.dtype), reduction="none").flatten(1).sum(1)
    scale = log_scale.exp()
    if kind == "gaussian" and not step:
        each = 0.5 * ((x - output) / scale).square() + log_scale + 0.5 * math.log(2 * math.pi)
        return each.flatten(1).sum(1)
    upper, lower = (x - output + step / 2) / scale, (x - output - step / 2) / scale
    log_cdf = torch.special.log_ndtr if kind == "gaussian" else F.logsigmoid
    # By symmetry the smaller tail is used, where the difference of two cumulatives does not cancel.
    flip = (upper + lower) > 0
    high, low = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    log_high = log_cdf(high)
    inside = log_high + torch.log(-torch.expm1((log_cdf(low) - log_high).clamp(max=-1e-7)))
    each = torch.where(x <= -1 + step / 4, log_cdf(upper), torch.where(x >= 1 - step / 4, log_cdf(-lower), inside))
    return -each.flatten(1).sum(1)


def mean_value(kind: LikelihoodName, output: Tensor) -> Tensor:
    """Return the mean of the likelihood, as a value of the data."""
    return 2 * torch.sigmoid(output) - 1 if kind == "bernoulli" else output
