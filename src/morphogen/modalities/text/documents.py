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

from .files import read_plain

_TRAINED = 0.9  # share of a single text, from its beginning
_FEWEST = 10  # characters of a single text, so that neither part is empty
# A list, such as of names, has at least _LINES lines, half of them different, none longer than _LONGEST characters, and
# a median below _MEDIAN; of a long file _SAMPLE lines are read.
_LINES, _LONGEST, _MEDIAN, _SAMPLE = 20, 400, 80, 2000
_BLOCK = 1 << 22  # bytes in which characters are counted at a time
_PATTERNS = {"line": rb"\n(?:[ \t]*\n)*", "blank": rb"\n(?:[ \t]*\n)+"}

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

    `separator` is `line` or `blank` (lines) for what stands between documents, or any text (`\\n` and `\\t` are a line
    end and a tab), or `none`: the file is one text, its last tenth the test split, as in nanoGPT. Without it: `line`
    if the file is a list, many different short lines and none of them blank, else `none`. Documents lose the line
    ends around them. Raises UserError if the file is no text, or does not contain `separator`.
    """
    data = read_plain(path, str(path))
    if separator == "":
        raise UserError("--separator is empty; expected line, blank, none, or a text that stands between documents")
    chosen = separator or ("line" if _is_list(data) else "none")
    if chosen == "none":
        return _halves(path, data, advise=separator is None)
    spans = _cut(data, chosen)
    count = len(spans[0])
    if separator is not None and count < 2:
        raise UserError(f"{path} does not contain --separator {separator!r} between two documents; drop it")
    unit = {"line": "lines", "blank": "blocks between blank lines"}.get(chosen, f"parts between {separator!r}")
    description = f"{path.name}: {count:,} {unit}, each a document"
    description += " (--separator none takes all as one text)" if separator is None else ""
    return Parts(Documents(data, spans), description)


def _cut(data: bytes, separator: str) -> Spans:
    """Return where documents begin and stop, without the line ends around them; blank ones are left out."""
    text = separator.replace("\\n", "\n").replace("\\t", "\t").encode()
    pattern = re.compile(_PATTERNS.get(separator) or rb"\n*" + re.escape(text) + rb"\n*")
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


def _is_list(data: bytes) -> bool:
    """Return whether a text is a list with one item per line."""
    body = data.strip(b"\n")
    count = body.count(b"\n") + 1
    if count < _LINES or re.search(rb"\n[ \t]*\n", body):
        return False
    lines = body.split(b"\n") if count <= _SAMPLE else _spread(body)
    lengths = sorted(len(line.decode()) for line in lines)
    return lengths[-1] <= _LONGEST and lengths[len(lengths) // 2] < _MEDIAN and len(set(lines)) >= len(lines) / 2


def _spread(body: bytes) -> list[bytes]:
    """Return lines at evenly spaced positions."""
    lines = {}
    for at in np.linspace(0, len(body) - 1, _SAMPLE).astype(int).tolist():
        start, stop = body.rfind(b"\n", 0, at) + 1, body.find(b"\n", at)
        lines[start] = body[start : stop if stop >= 0 else len(body)]
    return list(lines.values())
