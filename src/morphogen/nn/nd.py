"""Operations for any number of axes, so that one network serves series, pictures and video."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


def convolution(axes: int, channels_in: int, channels_out: int, kernel: int = 3) -> nn.Module:
    """Return a convolution over 1 to 3 axes that keeps the size."""
    return _CONVOLUTIONS[axes](channels_in, channels_out, kernel, padding=kernel // 2)


_FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes in `fp32`, `bf16` or `fp16`; its weights stay single precision."""
    return torch.autocast(device.type, _FORMATS.get(precision), enabled=precision in _FORMATS)


def zero(module: nn.Module) -> nn.Module:
    """Set all parameters of a module to 0 and return it: a residual branch that ends with it starts at zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def group_norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    """Return group normalisation with 16 channels a group where that divides, which CPU kernels vectorise best."""
    group = math.gcd(channels, 16)
    return nn.GroupNorm(channels // group if group > 1 else 1, channels, affine=affine)


def unshuffle(x: Tensor, factor: int) -> Tensor:
    """Map `(B, C, *size)` to `(B, C * factor**axes, *size / factor)`: space to depth for any number of axes."""
    if factor == 1:
        return x
    batch, channels, *size = x.shape
    axes = len(size)
    split = list(itertools.chain.from_iterable((length // factor, factor) for length in size))
    x = x.reshape(batch, channels, *split)
    inner, outer = [3 + 2 * axis for axis in range(axes)], [2 + 2 * axis for axis in range(axes)]
    return x.permute(0, 1, *inner, *outer).reshape(batch, channels * factor**axes, *[n // factor for n in size])


def shuffle(x: Tensor, factor: int) -> Tensor:
    """Return the inverse of `unshuffle`: depth to space."""
    if factor == 1:
        return x
    batch, channels, *size = x.shape
    axes = len(size)
    x = x.reshape(batch, channels // factor**axes, *(factor,) * axes, *size)
    interleaved = itertools.chain.from_iterable((2 + axes + axis, 2 + axis) for axis in range(axes))
    return x.permute(0, 1, *interleaved).reshape(batch, channels // factor**axes, *[n * factor for n in size])


def padding_to(size: Sequence[int], multiple: int) -> list[int]:
    """Return how many cells each axis lacks to the next multiple."""
    return [-length % multiple for length in size]


def pad_end(x: Tensor, padding: Sequence[int]) -> Tensor:
    """Repeat the last cell of each axis `padding` times."""
    for axis, count in enumerate(padding, start=2):
        if count:
            last = x.narrow(axis, x.shape[axis] - 1, 1)
            x = torch.cat((x, *(last,) * count), dim=axis)
    return x


def crop_end(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the leading part of that size, which undoes `pad_end`."""
    for axis, length in enumerate(size, start=2):
        if x.shape[axis] != length:
            x = x.narrow(axis, 0, length)
    return x


def place(module: nn.Module, device: torch.device | str) -> None:
    """Move a module to a device, in the memory format in which convolutions over two axes run fastest."""
    module.to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
