"""Differentiable augmentation of what the critic sees, data and samples alike (DiffAugment, arXiv 2006.10738)."""

from __future__ import annotations

import torch
from torch import Tensor

_SHIFT, _CUT = 1 / 8, 1 / 2  # of a side


def augment(x: Tensor, probability: Tensor) -> Tensor:
    """`(B, C, *size)` with, each for that share of items: brightness and contrast; a shift; a box blanked.

    What is shifted in, and the box, are 0. A row, which has no size, gets brightness and contrast alone.
    """
    x = _levels(x, _chosen(x, probability))
    if x.dim() == 2:
        return x
    return _cut(_shift(x, _chosen(x, probability)), _chosen(x, probability))


def _chosen(x: Tensor, probability: Tensor) -> Tensor:
    """Which items, `(B, 1, …)`."""
    return _uniform(x) < probability


def _uniform(x: Tensor) -> Tensor:
    return torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device)


def _levels(x: Tensor, chosen: Tensor) -> Tensor:
    brightness = torch.where(chosen, _uniform(x) - 0.5, 0.0)
    contrast = torch.where(chosen, 0.5 + _uniform(x), 1.0)
    mean = x.mean(tuple(range(1, x.dim())), keepdim=True)
    return (x - mean) * contrast + mean + brightness


def _shift(x: Tensor, chosen: Tensor) -> Tensor:
    for axis in range(2, x.dim()):
        length = x.shape[axis]
        reach = round(_SHIFT * length)
        by = torch.where(chosen, ((2 * reach + 1) * _uniform(x)).floor() - reach, 0.0).long()
        source = _along(axis, x) - by
        inside = (source >= 0) & (source < length)
        x = x.gather(axis, source.clamp(0, length - 1).expand(x.shape)) * inside
    return x


def _cut(x: Tensor, chosen: Tensor) -> Tensor:
    box = chosen
    for axis in range(2, x.dim()):
        length = x.shape[axis]
        side = round(_CUT * length)
        # Its middle lies anywhere, so that it may stick out.
        low = ((length + 1) * _uniform(x)).floor() - side // 2
        box = box & (_along(axis, x) >= low) & (_along(axis, x) < low + side)
    return x * ~box


def _along(axis: int, x: Tensor) -> Tensor:
    """0, 1, … along an axis, broadcastable against x."""
    return torch.arange(x.shape[axis], device=x.device).reshape([-1 if a == axis else 1 for a in range(x.dim())])
