"""Pixel levels as points of a space: one layout for each kind of space that pictures offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.space import Grid, Space, Tokens


class Layout(ABC):
    """Levels `(B, H, W)` or `(B, H, W, channels)`, whole numbers in 0..steps, to `(B, *space.shape)` and back."""

    space: Space

    def __init__(self, size: tuple[int, int], channels: int, steps: int) -> None:
        self.size, self.channels, self.steps = size, channels, steps

    @abstractmethod
    def encode(self, levels: NDArray[Any]) -> Tensor:
        """Return `(B, *space.shape)`."""

    @abstractmethod
    def decode(self, x: Tensor) -> NDArray[Any]:
        """Return levels `(B, H, W, channels)`, clamped to the range."""

    @abstractmethod
    def spread(self, pixels: Tensor) -> Tensor:
        """Return a mask of pixels, bool `(B, H, W)`, as one that is broadcastable against `(B, *space.shape)`."""


class GridLayout(Layout):
    """Numbers in [-1, 1]: level i is `(2 i - steps) / steps`."""

    def __init__(self, size: tuple[int, int], channels: int, steps: int) -> None:
        super().__init__(size, channels, steps)
        self.space = Grid(channels, size, step=2 / steps)

    def encode(self, levels: NDArray[Any]) -> Tensor:
        # Integers below 2^24 are exact in float32, and division rounds correctly: these are the values of the store.
        x = (levels.astype(np.float32) * 2 - self.steps) / np.float32(self.steps)
        x = x[:, None] if x.ndim == 3 else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return torch.from_numpy(x)

    def decode(self, x: Tensor) -> NDArray[Any]:
        position = (x.to(torch.float32).nan_to_num(nan=0.0).numpy().transpose(0, 2, 3, 1) + 1) * (self.steps / 2)
        return np.clip(np.rint(position), 0, self.steps)

    def spread(self, pixels: Tensor) -> Tensor:
        return pixels.unsqueeze(1)


class TokenLayout(Layout):
    """Tokens in raster order: the level is the token, and a pixel's colours stand side by side."""

    def __init__(self, size: tuple[int, int], channels: int, steps: int) -> None:
        super().__init__(size, channels, steps)
        self.space = Tokens(vocab=steps + 1, size=(size[0], size[1] * channels))

    def encode(self, levels: NDArray[Any]) -> Tensor:
        return torch.from_numpy(levels.astype(np.int64).reshape(len(levels), *self.space.shape))

    def decode(self, x: Tensor) -> NDArray[Any]:
        levels: NDArray[Any] = x.clamp(0, self.steps).numpy().reshape(len(x), *self.size, self.channels)
        return levels

    def spread(self, pixels: Tensor) -> Tensor:
        return pixels.repeat_interleave(self.channels, dim=2)


LAYOUTS: dict[type[Space], type[Layout]] = {Grid: GridLayout, Tokens: TokenLayout}
