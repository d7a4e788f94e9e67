"""The arrays in an npz file, whose headers are compared with the archive before memory is asked for."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.files import check_memory

_LONGEST_HEADER = 10_000  # characters, as numpy has it
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays in a file by their names in lower case, but those of Python objects, which are never loaded.

    Raises ValueError, or what the archive raises, where it is damaged or a header claims another size.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
        check_memory(sum(one.file_size for one in members), path)
        for member in members:
            with archive.open(member) as file:
                shape, is_object = _header(file, member)
            if is_object:
                continue
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            if array.shape != shape:
                raise ValueError(f"{member.filename} has the shape {array.shape}, and not {shape}")
            arrays[member.filename.removesuffix(".npy").lower()] = array
    return arrays


def _header(file: IO[bytes], member: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool]:
    """Return the shape of an array, and whether it holds objects. Raises ValueError where its size is another."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{member.filename} is of the version {version}")
    shape, _, dtype = _HEADERS[version](file, max_header_size=_LONGEST_HEADER)
    claimed, present = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
    if not dtype.hasobject and claimed != present:
        raise ValueError(f"{member.filename} claims {claimed:,} bytes and has {present:,}")
    return shape, dtype.hasobject
