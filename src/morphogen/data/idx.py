"""The idx files of MNIST and its relatives, plain or gzipped."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError
from morphogen.core.files import guard, read_bytes

from .arrays import ArraySource, labels_as_text

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"(?P<stem>.*)[.-]idx\d-ubyte(\.gz)?$|(?P<short>.*)\.idx(\.gz)?$")


def is_idx(name: str) -> bool:
    """Return whether a file name is that of an idx file."""
    return _NAME.match(name) is not None


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array in an idx file. Raises UserError if it is another kind of file, or cut short."""
    with guard(path, "is not a readable idx file", "fetch it again"):
        data = read_bytes(path, path, UserError)
        zeros, kind, axes = struct.unpack(">HBB", data[:4])
        if zeros or kind not in _TYPES:
            raise ValueError(f"it begins with {data[:4].hex(' ')}; expected 00 00 and a type of numbers, 08 to 0e")
        shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
        dtype = np.dtype(_TYPES[kind])
    expected, size = math.prod(shape) * dtype.itemsize, len(data) - 4 - 4 * axes
    if not axes or size != expected:
        raise UserError(f"{path} holds {size} bytes; expected {expected} for values of shape {shape}; fetch it again")
    with guard(path, "is not a readable idx file", "fetch it again"):
        return np.frombuffer(data, dtype, offset=4 + 4 * axes).reshape(shape)


def open_idx(path: Path, modality: str | None) -> ArraySource:
    """Return the items of one file, with those of the file of labels beside it, if any, as classes."""
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    columns = {"label": labels_as_text(read_idx(beside))} if beside != path and beside.exists() else {}
    return ArraySource([read_idx(path)], modality, path.name, columns)


def open_idx_folder(root: Path, modality: str | None) -> ArraySource | None:
    """Return `train-images…`, with `t10k-…` or `test-…` as the official test split; None: the folder has none."""
    stems = {}
    for path in sorted(root.iterdir()):
        match = _NAME.match(path.name)
        if match:
            stems[match["stem"] or match["short"]] = path
    if "train-images" not in stems:
        return None
    test = "t10k" if "t10k-images" in stems else "test"
    sets = [name for name in ("train", test) if f"{name}-images" in stems]
    parts = [read_idx(stems[f"{name}-images"]) for name in sets]
    columns = {}
    if all(f"{name}-labels" in stems for name in sets):
        columns = {"label": labels_as_text(np.concatenate([read_idx(stems[f"{name}-labels"]) for name in sets]))}
    return ArraySource(parts, modality, f"folder {root.name} of idx files", columns)
