"""Readings of a sensor: one number per time step, all series equally long. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from morphogen.core.codec import Codec
from morphogen.core.errors import BadItem, UserError
from morphogen.core.modality import Modality, Record
from morphogen.core.space import Grid, Space, Tokens

from .options import Mask, Options

Series = NDArray[np.float64]
_PANEL = (120, 40)  # pixels of one series in a preview


class ReadingsModality(Modality[list[Series]]):
    """Series as one-dimensional arrays."""

    name = "readings"
    noun, plural = "series", "series"
    spaces: tuple[type[Space], ...] = (Grid, Tokens)  # type: ignore[misc]
    default_family = "gaussian"
    Options, Mask = Options, Mask
    accepts = {"file": ".npy of shape (time,)", "array": "numbers of shape (N, time)", "object": "an array (time,)"}

    def claims(self, record: Record) -> float:
        if record.kind == "file":
            return float(record.name.endswith(".npy") and np.load(record.example, mmap_mode="r").ndim == 1)
        if record.kind == "array":
            return float(record.example.ndim == 2 and record.example.shape[1] > 1)
        return float(record.kind == "object" and isinstance(record.example, np.ndarray) and record.example.ndim == 1)

    def read(self, raw: Any, name: str) -> Series:
        try:
            series = np.asarray(np.load(raw) if isinstance(raw, Path) else raw, dtype=np.float64)
        except (OSError, ValueError, TypeError) as error:
            raise BadItem(f"{name} cannot be read as numbers: {error}") from None
        if series.ndim != 1 or not np.isfinite(series).all():
            raise BadItem(f"{name} has the shape {series.shape}; expected finite numbers of shape (time,)")
        return series

    def write(self, parts: Iterable[list[Series]], folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, series in enumerate(series for part in parts for series in part):
            paths.append(folder / f"{number:05d}.npy")
            np.save(paths[-1], series)
        return paths

    def fit(self, chunks: Iterable[list[Series]], kind: type[Space], options: Any) -> Codec[list[Series]]:
        from .codec import ReadingsCodec

        return ReadingsCodec.fit(chunks, kind, options)

    def load_codec(self, folder: Path) -> Codec[list[Series]]:
        from .codec import ReadingsCodec

        return ReadingsCodec.load(folder)

    def preview(self, items: list[Series]) -> Image.Image:
        width, height = _PANEL
        canvas = Image.new("L", (width, height * max(1, len(items))), 255)
        low, high = min(map(np.min, items)), max(map(np.max, items))
        for row, series in enumerate(items):
            x = np.linspace(0, width - 1, len(series))
            y = (row + 1) * height - 1 - (series - low) / max(high - low, 1e-9) * (height - 2)
            ImageDraw.Draw(canvas).line(list(zip(x.tolist(), y.tolist(), strict=True)))
        return canvas

    def judge(self) -> Any:
        from .judge import JUDGE

        return JUDGE

    def mask(self, items: list[Series], mask: Any) -> list[NDArray[np.bool_]]:
        missing = []
        for number, series in enumerate(items):
            steps = np.arange(len(series))
            missing.append((steps >= mask.start) & (steps < (len(series) if mask.stop is None else mask.stop)))
            if not missing[-1].any():
                raise UserError(f"series {number} has {len(series)} time steps, so nothing is missing; lower --start")
        return missing

    def weigh(self, item: Series) -> int:
        return item.nbytes


MODALITY = ReadingsModality()
