"""Infers size, colour and depth from a set of pictures, in one pass."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from morphogen.core.errors import UserError

from .options import Options
from .pixels import Fit, Range, colour, float_range_of_set, is_coloured, plain

_LARGEST = 128  # pixels of the longer side, up to which pictures of one size keep it


@dataclass(frozen=True)
class Choice:
    """The inferred settings of the codec: `size` is (H, W), pixel values lie in `low..high`, `notes` describe them."""

    size: tuple[int, int]
    mode: str  # L, RGB or I;16
    fit_by: Fit
    low: int
    high: int
    two_valued: bool
    notes: list[str]
    own_range: Range | None  # of float pixels, where there are any
    floats: bool  # whether all pictures have float pixels


class PictureStatistics:
    """Sizes, colour, depth and the distinct values of the pictures so far."""

    def __init__(self, options: Options) -> None:
        colour(options.background)  # refused at once where there is no such colour
        self.options = options
        self.sizes: Counter[tuple[int, int]] = Counter()  # (H, W)
        self.coloured = self.deep = False
        self.values: set[int] = set()
        self.float_count, self.lowest, self.highest = 0, math.inf, -math.inf  # of pictures with float pixels
        self.whole = True  # whether all float pixels are whole numbers

    def add(self, images: Iterable[Image.Image]) -> None:
        """Take in some more pictures."""
        for original in images:
            if original.mode == "F":
                self._add_floats(original)
                continue
            image = plain(original, self.options.background)
            self.sizes[image.height, image.width] += 1
            self.deep |= image.mode == "I;16"
            self.coloured = self.coloured or is_coloured(image)
            if len(self.values) <= 2 and not self.coloured:  # more than two are not counted
                self.values.update(np.unique(np.asarray(image)).tolist())

    def _add_floats(self, image: Image.Image) -> None:
        self.sizes[image.height, image.width] += 1
        self.float_count += 1
        lowest, highest = image.getextrema()
        assert isinstance(lowest, float)
        assert isinstance(highest, float)
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        self.whole = self.whole and bool((np.asarray(image) % 1 == 0).all())

    def choose(self) -> Choice:
        """Return the choices. Raises UserError without pictures, if all are too small, or if options contradict."""
        if not self.sizes:
            raise UserError("there is no readable picture to learn from; check the source")
        mode, mode_note = self._mode()
        size, size_notes = self._size()
        alike = list(self.sizes) == [size]
        fit_by: Fit = self.options.resize if self.options.resize != "auto" else "crop"
        if not alike and self.options.resize == "auto" and _same_aspect(self.sizes, size):
            fit_by = "stretch"
        fits = {
            "crop": "the centre is cropped to fit",
            "pad": f"the rest is padded with {self.options.background}",
            "stretch": "each is scaled to fit",
        }
        notes = [*size_notes, *([] if alike else [fits[fit_by]]), mode_note]
        low, high = 0, 65535 if mode == "I;16" else 255
        # Two values stay two only without colour, mixed depths and resizing, all of which make others.
        grey = mode != "RGB" and not self.coloured
        two_valued = alike and grey and len(self.values) == 2 and (mode == "I;16") == self.deep
        two_valued = two_valued and not self.float_count
        if two_valued:
            low, high = sorted(self.values)
            notes.append(f"two values only ({low} and {high})")
        else:
            notes.append("16 bit" if mode == "I;16" else "8 bit")
        own_range = float_range_of_set(self.lowest, self.highest, whole=self.whole) if self.float_count else None
        if own_range:
            seen, meant = (f"{one[0]:g}..{one[1]:g}" for one in ((self.lowest, self.highest), own_range))
            notes.append(f"float pixels in {seen}, taken for the range {meant}")
        floats = self.float_count == self.sizes.total() and mode == "L"
        return Choice(size, mode, fit_by, low, high, two_valued, notes, own_range, floats)

    def _mode(self) -> tuple[str, str]:
        options = self.options
        rgb = options.mode == "RGB" or (options.mode == "auto" and self.coloured)
        if rgb and options.bits == 16:
            raise UserError("16 bits in colour are not supported; choose bits 8, or mode L")
        if rgb:
            return "RGB", "colour"
        note = "grey (as set)" if options.mode == "L" else "grey (no picture holds a coloured pixel)"
        deep = options.bits == 16 or (options.bits == "auto" and self.deep)
        return ("I;16" if deep else "L"), note

    def _size(self) -> tuple[tuple[int, int], list[str]]:
        options, count = self.options, sum(self.sizes.values())
        pictures = f"{count} picture{'s' * (count > 1)}"
        common = self.sizes.most_common(1)[0][0]
        if options.size is not None:
            return (options.size, options.size), [f"{pictures} at {_words((options.size, options.size))}, as set"]
        smallest, largest = min(self.sizes, key=min), max(self.sizes, key=max)
        if len(self.sizes) == 1:
            if min(common) < 4:
                raise UserError(f"every picture is {_words(common)} pixels; expected 4x4 or more, or give a size")
            factor = -(-max(common) // _LARGEST)
            if factor == 1:
                return common, [f"{pictures}, all {_words(common)}"]
            size = (max(8, round(common[0] / factor / 8) * 8), max(8, round(common[1] / factor / 8) * 8))
            return size, [f"{pictures}, all {_words(common)}, reduced to {_words(size)} (give a size to change it)"]
        median = statistics.median(min(size) for size in self.sizes.elements())
        side = min(64, max(16, int(median) // 8 * 8))
        sizes = f"{pictures} from {_words(smallest)} to {_words(largest)}"
        tiny = sum(number for size, number in self.sizes.items() if min(size) < side // 4)
        note = f"{sizes}, made {side}x{side} from the median of the shorter sides (give a size to change it)"
        return (side, side), [note, *([f"{tiny} of them much enlarged"] if tiny else [])]


def _same_aspect(sizes: Iterable[tuple[int, int]], target: tuple[int, int]) -> bool:
    """Return whether every picture has the target's aspect within 5 %, so that scaling distorts nothing visible."""
    return all(0.95 < height * target[1] / (width * target[0]) < 1.05 for height, width in sizes)


def _words(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
