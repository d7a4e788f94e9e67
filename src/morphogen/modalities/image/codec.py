"""Pictures as grids: numbers in [-1, 1] in the steps of their bits, or quantised pixels as tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import UserError
from morphogen.core.model import Partial
from morphogen.core.noise import Noise
from morphogen.core.records import Record, parse_record
from morphogen.core.space import Grid, Space, space_from_json, space_to_json

from .files import as_pictures
from .inference import PictureStatistics
from .layouts import LAYOUTS, Layout
from .mask import as_mask
from .options import Options
from .pixels import Fit, Range, checked_colour, plain, recast, resized, values

_CHANNELS = {"L": 1, "I;16": 1, "RGB": 3}


Side = Annotated[int, Field(ge=1, le=4096)]
Value = Annotated[int, Field(ge=0, le=65535)]  # of a pixel


class ImageConfig(Record):
    """What the folder of an `ImageCodec` holds."""

    space: dict[str, Any]
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]  # (H, W)
    mode: Literal["L", "I;16", "RGB"]
    fit_by: Fit
    background: Annotated[str, AfterValidator(checked_colour)]
    low: Value
    high: Value
    steps: Annotated[int, Field(ge=1, le=65535)]
    notes: list[str]
    own_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None  # of float pixels
    floats: bool

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low}, and high {self.high}; expected low below high")
        return self


class ImageCodec(Codec[list[Image.Image]]):
    """Pictures of any size and mode to `(channels, H, W)` numbers or `(H, W)` tokens, and back.

    A pixel value v in `low..high` has the level `round((v - low) * steps / (high - low))`; how levels become numbers or
    tokens is the layout's. Pictures of two values have `steps` = 1.
    """

    def __init__(
        self,
        *,
        layout: type[Layout],
        size: tuple[int, int],
        mode: str,
        fit_by: Fit,
        background: str,
        low: int,
        high: int,
        steps: int,
        notes: list[str],
        own_range: Range | None = None,
        floats: bool = False,
    ) -> None:
        """`own_range` is that of float pixels among the items; with `floats` they are decoded to such pixels."""
        self.layout = layout(size, _CHANNELS[mode], steps)
        self.space = self.layout.space
        self.size, self.mode, self.fit_by, self.background = size, mode, fit_by, background
        self.low, self.high, self.steps, self.notes = low, high, steps, notes
        self.own_range, self.floats = own_range, floats

    @classmethod
    def fit(cls, chunks: Iterable[list[Image.Image]], kind: type[Space], options: Options | None = None) -> Self:
        """Return the codec for these pictures; `notes` says what it chose. Raises UserError without pictures."""
        options = options or Options()
        if kind not in LAYOUTS:
            raise UserError(f"pictures cannot be encoded as {kind.plural}")
        if kind.continuous and options.levels != Options.model_fields["levels"].default:
            raise UserError("codec.levels is for pictures as tokens, and this family models continuous values; drop it")
        statistics = PictureStatistics(options)
        for chunk in chunks:
            statistics.add(chunk)
        choice = statistics.choose()
        steps = 1 if choice.two_valued else choice.high - choice.low
        notes = choice.notes
        if not kind.continuous:
            steps = steps if choice.two_valued else options.levels - 1
            notes = [*notes, f"{steps + 1} levels per token"]
        return cls(
            layout=LAYOUTS[kind],
            size=choice.size,
            mode=choice.mode,
            fit_by=choice.fit_by,
            background=options.background,
            low=choice.low,
            high=choice.high,
            steps=steps,
            notes=notes,
            own_range=choice.own_range,
            floats=choice.floats,
        )

    def encode(self, items: list[Image.Image]) -> Tensor:
        """Return `(B, *space.shape)`: float32 in [-1, 1], or int64 tokens."""
        if not items:
            return self.layout.encode(np.empty((0, *self.size, self.layout.channels)))
        levels: NDArray[Any] = np.stack([self._pixels(item) for item in items])
        if self.steps != self.high - self.low or self.low:
            scaled = (levels.astype(np.float32) - self.low) * np.float32(self.steps / (self.high - self.low))
            levels = np.clip(np.rint(scaled), 0, self.steps)
        return self.layout.encode(levels)

    def align(self, items: Any) -> list[Image.Image]:
        """Return pictures from PIL images and arrays, or from one array of them. Raises BadItem on anything else."""
        return as_pictures(items)

    def decode(self, x: Tensor, noise: Noise | None = None) -> list[Image.Image]:
        """Return the pictures of `x` `(B, *space.shape)`; values are rounded, and clamped to the range."""
        levels = self.layout.decode(x.detach().cpu())
        if self.floats and self.own_range:
            low, high = self.own_range
            values = (low + levels[..., 0] * ((high - low) / self.steps)).astype(np.float32)
            return [Image.fromarray(one) for one in np.ascontiguousarray(values)]
        pixels = np.rint(self.low + levels * ((self.high - self.low) / self.steps))
        array = pixels.astype(np.uint16 if self.mode == "I;16" else np.uint8)
        array = array[..., 0] if array.shape[-1] == 1 else array
        return [Image.fromarray(one) for one in np.ascontiguousarray(array)]

    def downscaled(self, factor: int) -> Self:
        """Return the codec of the same pictures as numbers, each side divided by `factor` and rounded up."""
        height, width = (-(-side // factor) for side in self.size)
        return type(self)(
            layout=LAYOUTS[Grid],
            size=(height, width),
            mode=self.mode,
            fit_by=self.fit_by,
            background=self.background,
            low=self.low,
            high=self.high,
            steps=self.high - self.low,
            notes=[],
            own_range=self.own_range,
            floats=self.floats,
        )

    def observe(self, items: list[Image.Image], mask: Any) -> Partial:
        """Return the encoded pictures, unknown where the mask of each, a picture or an array, is not black.

        A pixel at the model's size is unknown if the mask covers any part of it. Raises UserError if a mask does not
        have the size of its picture.
        """
        known = torch.ones(len(items), *self.size, dtype=torch.bool)
        for number, (item, own) in enumerate(zip(items, mask, strict=True)):
            one = as_mask(own, f"mask {number}")
            size = ImageOps.exif_transpose(item).size
            if one.size != size:
                wrong, expected = ("x".join(map(str, sides)) for sides in (one.size, size))
                raise UserError(f"mask {number} is {wrong}; its picture is {expected}: give a mask of that size")
            # Resized as its picture is, without rounding: a pixel is covered by any share above 0.
            missing = Image.fromarray((np.asarray(one) > 0).astype(np.float32))
            share = np.asarray(resized(missing, self.size, self.fit_by, "black"))
            known[number] = torch.from_numpy(np.abs(share) < 1e-6)
        return Partial(self.encode(items), self.layout.spread(known))

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
            "own_range": None if self.own_range is None else list(self.own_range),
            "floats": self.floats,
        }
        return config, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        own = parse_record(config, ImageConfig, "the codec of pictures")
        height, width = own.size
        values = own.model_dump(exclude={"space", "size"})
        values["own_range"] = None if own.own_range is None else (own.own_range[0], own.own_range[1])
        space = space_from_json(own.space)
        codec = cls(layout=LAYOUTS[type(space)], size=(height, width), **values)
        if codec.space != space:
            raise UserError(f"the codec of pictures maps to {codec.space}, and says {space}")
        return codec

    def _pixels(self, image: Image.Image) -> NDArray[np.generic]:
        image = recast(plain(image, self.background, self.own_range), self.mode)
        return values(resized(image, self.size, self.fit_by, self.background))
