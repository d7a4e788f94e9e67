"""Pictures as points of a space: numbers in [-1, 1] on the grid of their bits, or quantised pixel tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import UserError
from morphogen.core.model import Partial
from morphogen.core.space import Continuous, Space, Tokens, space_from_json, space_to_json

from .options import Options
from .pixels import Fit, plain, recast, resized, values
from .survey import Survey

_CHANNELS = {"L": 1, "I;16": 1, "RGB": 3}


class ImageCodec(Codec[list[Image.Image]]):
    """Pictures of any size and mode to `(channels, H, W)` numbers or `(H, W)` tokens, and back.

    A pixel value v in `low..high` is the index `i = round((v - low) * steps / (high - low))`, which is the token;
    as a number it is `(2 i - steps) / steps`: exactly -1 at `low` and 1 at `high`, spaced by `2 / steps`. Pictures of
    two values have `steps` = 1. Colour tokens keep raster order, a pixel's three values side by side: `(H, 3 W)`.
    """

    def __init__(
        self,
        *,
        space: Space,
        size: tuple[int, int],
        mode: str,
        fit_by: Fit,
        background: str,
        low: int,
        high: int,
        steps: int,
        notes: list[str],
    ) -> None:
        self.space, self.size, self.mode, self.fit_by, self.background = space, size, mode, fit_by, background
        self.low, self.high, self.steps, self.notes = low, high, steps, notes

    @classmethod
    def fit(cls, chunks: Iterable[list[Image.Image]], kind: type[Space], options: Options | None = None) -> Self:
        """The codec for these pictures; `notes` says what it chose. Raises UserError where there are none."""
        options = options or Options()
        survey = Survey(options)
        for chunk in chunks:
            survey.add(chunk)
        choice = survey.choose()
        low, high = choice.low, choice.high
        steps = 1 if choice.two_valued else high - low
        height, width = choice.size
        notes = choice.notes
        space: Space
        if kind is Tokens:
            if not choice.two_valued:
                steps = options.levels - 1
            space = Tokens(vocab=steps + 1, size=(height, width * _CHANNELS[choice.mode]))
            notes = [*notes, f"{steps + 1} levels per token"]
        else:
            space = Continuous(_CHANNELS[choice.mode], choice.size, step=2 / steps)
        return cls(
            space=space,
            size=choice.size,
            mode=choice.mode,
            fit_by=choice.fit_by,
            background=options.background,
            low=low,
            high=high,
            steps=steps,
            notes=notes,
        )

    def encode(self, items: list[Image.Image]) -> Tensor:
        """`(B, *space.shape)`: float32 in [-1, 1], or int64 tokens."""
        if not items:
            dtype = torch.int64 if isinstance(self.space, Tokens) else torch.float32
            return torch.empty((0, *self.space.shape), dtype=dtype)
        pixels = np.stack([self._pixels(item) for item in items])
        if self.steps == self.high - self.low and self.low == 0:
            index: NDArray[Any] = pixels
        else:
            scaled = (pixels.astype(np.float32) - self.low) * np.float32(self.steps / (self.high - self.low))
            index = np.clip(np.rint(scaled), 0, self.steps)
        if isinstance(self.space, Tokens):
            return torch.from_numpy(index.astype(np.int64).reshape(len(items), *self.space.size))
        # Integers below 2^24 are exact in float32 and division rounds correctly, so every maker of this grid agrees.
        x = (index.astype(np.float32) * 2 - self.steps) / np.float32(self.steps)
        x = x[:, None] if x.ndim == 3 else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return torch.from_numpy(x)

    def decode(self, x: Tensor) -> list[Image.Image]:
        """The pictures of `x` `(B, *space.shape)`; values outside the range are clamped, those between rounded."""
        x = x.detach().cpu()
        if isinstance(self.space, Tokens):
            index = x.clamp(0, self.steps).numpy().reshape(len(x), *self.size, _CHANNELS[self.mode])
        else:
            position = (x.to(torch.float32).nan_to_num(nan=0.0).numpy().transpose(0, 2, 3, 1) + 1) * (self.steps / 2)
            index = np.clip(np.rint(position), 0, self.steps)
        pixels = np.rint(self.low + index * ((self.high - self.low) / self.steps))
        array = pixels.astype(np.uint16 if self.mode == "I;16" else np.uint8)
        array = array[..., 0] if array.shape[-1] == 1 else array
        return [Image.fromarray(one) for one in np.ascontiguousarray(array)]

    def reduced(self, factor: int) -> Self:
        """The codec of the same pictures as numbers at a `factor` of the size, rounded up."""
        height, width = (-(-side // factor) for side in self.size)
        steps = self.high - self.low
        return type(self)(
            space=Continuous(_CHANNELS[self.mode], (height, width), step=2 / steps),
            size=(height, width),
            mode=self.mode,
            fit_by=self.fit_by,
            background=self.background,
            low=self.low,
            high=self.high,
            steps=steps,
            notes=[],
        )

    def observe(self, items: list[Image.Image], holes: list[Image.Image]) -> Partial:
        """The pictures of which all is known but where a hole's picture, of the same size, is not black.

        A cell of the model's own size in which a hole has any share is missing. Raises UserError on another size.
        """
        known = torch.ones(len(items), *self.size, dtype=torch.bool)
        for number, (item, hole) in enumerate(zip(items, holes, strict=True)):
            size = ImageOps.exif_transpose(item).size
            if hole.size != size:
                found, wanted = ("x".join(map(str, one)) for one in (hole.size, size))
                raise UserError(f"mask {number} is {found}; its picture is {wanted}: make it as large")
            # Resized as its picture is, in numbers that are not rounded: what is not 0 has a share in the hole.
            missing = Image.fromarray((np.asarray(hole.convert("L")) > 0).astype(np.float32))
            share = np.asarray(resized(missing, self.size, self.fit_by, "black"))
            known[number] = torch.from_numpy(np.abs(share) < 1e-6)
        x = self.encode(items)
        if isinstance(self.space, Tokens):
            return Partial(x, known.repeat_interleave(_CHANNELS[self.mode], dim=2))
        return Partial(x, known.unsqueeze(1))

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config = {
            "space": space_to_json(self.space),
            "size": list(self.size),
            "mode": self.mode,
            "fit_by": self.fit_by,
            "background": self.background,
            "low": self.low,
            "high": self.high,
            "steps": self.steps,
            "notes": self.notes,
        }
        return config, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        height, width = config["size"]
        return cls(**{**config, "space": space_from_json(config["space"]), "size": (height, width)})

    def _pixels(self, image: Image.Image) -> NDArray[np.generic]:
        image = recast(plain(image, self.background), self.mode)
        return values(resized(image, self.size, self.fit_by, self.background))
