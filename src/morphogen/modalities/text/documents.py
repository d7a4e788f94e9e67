"""The documents of one text file: its lines or blocks, or one text in two parts."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError
from morphogen.core.modality import Parts

from .boundaries import NAMES, PATTERNS, find_separator, mark_pattern
from .files import read_plain

_TRAINED = 0.9  # share of a single text, from its beginning
_FEWEST = 10  # characters of a single text, so that neither part is empty
_BLOCK = 1 << 22  # bytes in which characters are counted at a time

Spans = tuple["array[int]", "array[int]"]  # where documents begin and stop, in bytes


class Documents(Sequence[str]):
    """Spans of one text, decoded when they are indexed."""

    def __init__(self, data: bytes, spans: Spans) -> None:
        self._data, (self._starts, self._stops) = data, spans

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self._data[self._starts[index] : self._stops[index]].decode()


def split_file(path: Path, separator: str | None) -> Parts:
    """Return the documents of a text file, plain or gzipped.

    `separator` is what stands between documents: `line`, `blank` (lines), `blanks` (two or more), `break` (a single
    line end between blocks), or any text (`\\n` and `\\t` are a line end and a tab). With `none` the file is one text,
    its last tenth the test split, as in nanoGPT. Without it `boundaries.find_separator` decides. Documents lose the
    line ends around them. Raises UserError if the file is no text, or does not contain `separator`.
    """
    data = read_plain(path, str(path))
    if separator == "":
        raise UserError("--separator is empty; expected line, blank, none, or a text that stands between documents")
    chosen = separator or find_separator(data)
    if chosen == "none":
        return _halves(path, data, advise=separator is None)
    spans = _cut(data, chosen)
    count = len(spans[0])
    if separator is not None and count < 2:
        raise UserError(f"{path} does not contain --separator {separator!r} between two documents; drop it")
    unit = NAMES.get(chosen, f"parts between {chosen!r}")
    description = f"{path.name}: {count:,} {unit}, each a document"
    description += " (--separator none takes all as one text)" if separator is None else ""
    return Parts(Documents(data, spans), description)


def _cut(data: bytes, separator: str) -> Spans:
    """Return where documents begin and stop, without the line ends around them; blank ones are left out."""
    text = separator.replace("\\n", "\n").replace("\\t", "\t")
    pattern = re.compile(PATTERNS.get(separator) or mark_pattern(text))
    starts, stops = array("q"), array("q")

    def add(start: int, stop: int) -> None:
        while start < stop and data[start] == 10:
            start += 1
        while start < stop and data[stop - 1] == 10:
            stop -= 1
        if start < stop and not data[start:stop].isspace():
            starts.append(start)
            stops.append(stop)

    begin = 0
    for match in pattern.finditer(data):
        add(begin, match.start())
        begin = match.end()
    add(begin, len(data))
    return starts, stops


def _halves(path: Path, data: bytes, advise: bool) -> Parts:
    """Return the first 90 % of the characters, and the rest, which is held out."""
    codes = np.frombuffer(data, np.uint8)
    blocks = [codes[start : start + _BLOCK] for start in range(0, len(codes), _BLOCK)]
    counts = [int(_begins(block).sum()) for block in blocks]
    if sum(counts) < _FEWEST:
        raise UserError(f"{path} holds {sum(counts)} characters; a text to learn from has thousands")
    character, number = int(_TRAINED * sum(counts)), 0  # the first that is held out, and its block
    while character >= counts[number]:
        character -= counts[number]
        number += 1
    middle = number * _BLOCK + int(np.flatnonzero(_begins(blocks[number]))[character])
    description = f"{path.name}: one text of {sum(counts):,} characters, its last tenth held out"
    description += " (--separator line, blank or a text of your own cuts it into documents)" if advise else ""
    return Parts(
        Documents(data, (array("q", [0, middle]), array("q", [middle, len(data)]))),
        description,
        names=(f"{path.name}, the first 90 %", f"{path.name}, the last 10 %"),
        test=np.array([False, True]),
    )


def _begins(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which bytes of UTF-8 begin a character."""
    return data & 0xC0 != 0x80
