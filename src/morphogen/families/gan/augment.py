"""Differentiable augmentation of the critic's input, real and generated (DiffAugment, arXiv 2006.10738)."""

from __future__ import annotations

import torch
from torch import Tensor

_SHIFT, _CUT = 1 / 8, 1 / 2  # of a side


def augment(x: Tensor, probability: Tensor) -> Tensor:
    """Return `(B, C, *size)` with brightness and contrast changed, shifted, and with a box cut out.

    Each of the three happens to an item independently with that probability. The box, and cells shifted in, are 0.
    Vectors `(B, C)` get brightness and contrast alone.
    """
    x = _brightness_and_contrast(x, _selected(x, probability))
    if x.dim() == 2:
        return x
    return _cut(_shift(x, _selected(x, probability)), _selected(x, probability))


def _selected(x: Tensor, probability: Tensor) -> Tensor:
    """Return a random choice of items, bool `(B, 1, …)`."""
    return _uniform(x) < probability


def _uniform(x: Tensor) -> Tensor:
    return torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device)


def _brightness_and_contrast(x: Tensor, selected: Tensor) -> Tensor:
    brightness = torch.where(selected, _uniform(x) - 0.5, 0.0)
    contrast = torch.where(selected, 0.5 + _uniform(x), 1.0)
    mean = x.mean(tuple(range(1, x.dim())), keepdim=True)
    return (x - mean) * contrast + mean + brightness


def _shift(x: Tensor, selected: Tensor) -> Tensor:
    for axis in range(2, x.dim()):
        length = x.shape[axis]
        reach = round(_SHIFT * length)
        by = torch.where(selected, ((2 * reach + 1) * _uniform(x)).floor() - reach, 0.0).long()
        source = _positions(axis, x) - by
        inside = (source >= 0) & (source < length)
        x = x.gather(axis, source.clamp(0, length - 1).expand(x.shape)) * inside
    return x


def _cut(x: Tensor, selected: Tensor) -> Tensor:
    box = selected
    for axis in range(2, x.dim()):
        length = x.shape[axis]
        side = round(_CUT * length)
        # The centre is anywhere in the grid, so that the box may extend beyond it.
        low = ((length + 1) * _uniform(x)).floor() - side // 2
        box = box & (_positions(axis, x) >= low) & (_positions(axis, x) < low + side)
    return x * ~box


def _positions(axis: int, x: Tensor) -> Tensor:
    """Return 0, 1, … along an axis, broadcastable to x."""
    return torch.arange(x.shape[axis], device=x.device).reshape([-1 if a == axis else 1 for a in range(x.dim())])
