"""Augmentation of pictures that does not leak into samples: the network is given the changes (arXiv 2206.00364, F.2).

Each item is mirrored, scaled, turned, stretched and shifted at random. The parameters of these changes are one more
condition of the network. Samples are made with all of them 0, so that a set in which nothing is mirrored or turned
gives no such samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.space import Grid, Space

PARAMETERS = 9
# By default each change of fewer training pictures than this has this probability, which is the paper's for CIFAR-10.
# Of 288 faces at 32 x 32, in 1,500 steps of 32, one run each: the held-out denoising loss fell from .368 to .329, the
# Fréchet distance to held-out faces from 6.2 to 5.6; the training loss rose from .264 to .306, and single samples look
# rougher. Larger sets have not been measured.
_PROBABILITY, _FEW = 0.12, 500
_LOG_SCALE, _SHIFT = 0.2, 1 / 8  # standard deviations: of log2 of a scale, and of a shift as a share of a side


class Augmentation(NamedTuple):
    """One random change for each item."""

    parameters: Tensor  # (B, PARAMETERS), all 0 for an item that is not changed
    inverse: Tensor  # (B, 2, 3), from a place in the changed picture to its source; width, height, each in [-1, 1]


def is_picture(axes: Sequence[str]) -> bool:
    """Return whether grids with these axes may be mirrored and turned: the last two are height and width."""
    return tuple(axes[-2:]) == ("height", "width")


def default_probability(space: Space, items: int) -> float:
    """Return the probability of each change where the user gives none, for a number of training items.

    Latents, which have no step, are not augmented: whether that helps has not been measured.
    """
    few = isinstance(space, Grid) and is_picture(space.axes) and space.step > 0 and items < _FEW
    return _PROBABILITY if few else 0.0


def random_augmentation(count: int, size: Sequence[int], probability: float, device: torch.device) -> Augmentation:
    """Return changes for `count` pictures with the sides `size`, the last two of which are height and width.

    An item gets each of the six kinds of change with that probability, independently.
    """
    selected = torch.rand(count, 6, device=device) < probability
    flips = (selected[:, :2] & (torch.rand(count, 2, device=device) < 0.5)).float()
    scale, stretch = (_LOG_SCALE * torch.randn(2, count, device=device) * selected[:, 2:4].t()).unbind()
    turn, axis = (math.pi * (2 * torch.rand(2, count, device=device) - 1)).unbind()
    turn = turn * selected[:, 4]
    shift = _SHIFT * torch.randn(count, 2, device=device) * selected[:, 5:]
    # Whole cells, so that a picture that is only shifted stays sharp.
    cells = torch.tensor([size[-1], size[-2]], dtype=shift.dtype, device=device)
    shift = (shift * cells).round() / cells
    linear = torch.diag_embed((1 - 2 * flips) * torch.exp2(-scale).unsqueeze(1))
    linear = linear @ _rotation(-turn) @ _rotation(axis) @ _stretch(stretch) @ _rotation(-axis)
    # From cells to half sides, in which sampling counts.
    linear = linear * cells / cells.unsqueeze(1)
    inverse = torch.cat((linear, -linear @ (2 * shift).unsqueeze(2)), dim=2)
    # Twice the axis: by the axis itself, as in the paper, to stretch and to shrink along it would look alike.
    angles = (turn.cos() - 1, turn.sin(), stretch * (2 * axis).cos(), stretch * (2 * axis).sin())
    parameters = torch.stack((scale, *angles), dim=1) / torch.tensor(
        [_LOG_SCALE, 1, 1, _LOG_SCALE, _LOG_SCALE], device=device
    )
    return Augmentation(torch.cat((flips, parameters, shift / _SHIFT), dim=1), inverse)


def augment(x: Tensor, augmentation: Augmentation) -> Tensor:
    """Return pictures `(B, C, H, W)` or films `(B, C, T, H, W)` changed, of any size; reflected beyond their sides."""
    planes = x.reshape(len(x), -1, *x.shape[-2:])
    places = F.affine_grid(augmentation.inverse, list(planes.shape), align_corners=False)
    moved = F.grid_sample(planes, places, mode="bicubic", padding_mode="reflection", align_corners=False)
    return moved.reshape(x.shape)


def _rotation(angle: Tensor) -> Tensor:
    """Return the matrices of rotations, `(B, 2, 2)`."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((cos, -sin, sin, cos), dim=1).reshape(-1, 2, 2)


def _stretch(log_factor: Tensor) -> Tensor:
    """Return the matrices that stretch along the first axis as they shrink the second, inverted, `(B, 2, 2)`."""
    return torch.diag_embed(torch.stack((torch.exp2(-log_factor), torch.exp2(log_factor)), dim=1))
