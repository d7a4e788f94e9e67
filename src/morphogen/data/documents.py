"""Documents as a source: the parts of one text file, and texts kept compactly."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import BadItem, UserError

from .base import Source, readers

_TRAINED = 0.9  # of one single text, its beginning
_FEWEST = 10  # characters of a single text, so that both parts hold some
# A list, such as of names: so many lines or more, of such lengths at most, half of them different.
_LINES, _LONGEST, _MEDIAN, _LOOKED_AT = 20, 400, 80, 2000
_BLOCK = 1 << 22  # bytes that are counted together
_PATTERNS = {"line": rb"\n(?:[ \t]*\n)*", "blank": rb"\n(?:[ \t]*\n)+"}


class Texts:
    """A list of texts that holds little more than their bytes. What could not be one has a message instead."""

    def __init__(self) -> None:
        self._data, self._ends = bytearray(), array("q")
        self.bad: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, text: str, name: str) -> None:
        """The next one; `name` is for messages. A text that is none is kept as bad."""
        try:
            self._data += readers()["text"].checked(text, name).encode()
        except BadItem as error:
            self.bad[len(self)] = str(error)
        self._ends.append(len(self._data))

    def refuse(self, message: str) -> None:
        """The next one is bad."""
        self.bad[len(self)] = message
        self._ends.append(len(self._data))

    def __getitem__(self, index: int) -> str:
        """Raises BadItem where the text is none."""
        if index in self.bad:
            raise BadItem(self.bad[index])
        return self._data[self._ends[index - 1] if index else 0 : self._ends[index]].decode()


class TextSource(Source):
    """One text file: documents, or one single text in two parts, the beginning to train on."""

    modality = "text"

    def __init__(self, path: Path, separator: str = "auto") -> None:
        """See `open_text`."""
        self._path, self._data = path, readers()["text"].plain(_bytes(path), str(path))
        self._names: tuple[str, ...] = ()
        if not separator:
            raise UserError("--separator is empty; expected line, blank, none, or a text that stands between documents")
        how, advice = separator, ""
        if separator == "auto":
            how = "line" if _is_list(self._data) else "none"
            advice = "none" if how == "line" else "line, blank or a text of your own"
        self._starts, self._stops = self._cut(how)
        count = len(self._starts)
        if separator not in ("auto", "none") and count < 2:
            raise UserError(f"{path} holds nothing that --separator {separator!r} would cut; leave it out")
        if how == "none":
            characters = self._halve()
            self.description = f"{path.name}: one text of {characters:,} characters, its last tenth held out"
            self.description += f" (--separator {advice} cuts it into documents)" if advice else ""
        else:
            unit = {"line": "lines", "blank": "blocks between blank lines"}.get(how, f"parts between {separator!r}")
            self.description = f"{path.name}: {count:,} {unit}, each a document"
            self.description += f" (--separator {advice} takes all as one text)" if advice else ""

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, index: int) -> str:
        return self._data[self._starts[index] : self._stops[index]].decode()

    def item_name(self, index: int) -> str:
        return self._names[index] if self._names else text_name(self.read(index))

    def _cut(self, how: str) -> tuple[array[int], array[int]]:
        """Where documents begin and stop, in bytes."""
        if how == "none":
            return array("q", [0]), array("q", [len(self._data)])
        own = how.replace("\\n", "\n").replace("\\t", "\t").encode()
        pattern = re.compile(_PATTERNS.get(how) or rb"\n*" + re.escape(own) + rb"\n*")
        starts, stops = array("q"), array("q")
        begin = 0
        for found in pattern.finditer(self._data):
            self._keep(begin, found.start(), starts, stops)
            begin = found.end()
        self._keep(begin, len(self._data), starts, stops)
        return starts, stops

    def _keep(self, start: int, stop: int, starts: array[int], stops: array[int]) -> None:
        """One document, without the line ends around it; none, where there is nothing but space."""
        while start < stop and self._data[start] == 10:
            start += 1
        while start < stop and self._data[stop - 1] == 10:
            stop -= 1
        if start < stop and not self._data[start:stop].isspace():
            starts.append(start)
            stops.append(stop)

    def _halve(self) -> int:
        """The split of nanoGPT: the first 90 % of the characters, and the rest. Returns how many there are."""
        data = np.frombuffer(self._data, np.uint8)
        blocks = [data[at : at + _BLOCK] for at in range(0, len(data), _BLOCK)]
        counts = [int(np.count_nonzero(_begins(block))) for block in blocks]
        if sum(counts) < _FEWEST:
            raise UserError(f"{self._path} holds {sum(counts)} characters; a text to learn from has thousands")
        wanted, number = int(_TRAINED * sum(counts)), 0
        while wanted >= counts[number]:
            wanted -= counts[number]
            number += 1
        middle = number * _BLOCK + int(np.flatnonzero(_begins(blocks[number]))[wanted])
        self._starts, self._stops = array("q", [0, middle]), array("q", [middle, len(self._data)])
        self._names = (f"{self._path.name}, the first 90 %", f"{self._path.name}, the last 10 %")
        self.test = np.array([False, True])
        return sum(counts)


def open_text(path: Path, separator: str = "auto") -> TextSource:
    """The documents of a text file, plain or gzipped.

    `separator` is `line` or `blank` (lines) for what stands between documents, or any text (`\\n` and `\\t` are a line
    end and a tab), or `none`: the file is one text, its last tenth the test split. `auto`: `line` where the file is a
    list, many short lines that differ and none of them blank, else `none`. Documents lose the line ends around them.
    Raises UserError on a file that is no text, or in which nothing is to be cut.
    """
    return TextSource(path, separator)


def text_name(text: str) -> str:
    """A name by what a text says: that of an equal text is the same, so that both are trained on or neither is."""
    return text if len(text) <= 40 else f"{text[:40]}… {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def named_by_text(source: Source, index: int, row: str) -> str:
    """The name by what an item says, or that of its row where it cannot be read."""
    try:
        return text_name(source.read(index))
    except BadItem:
        return row


def _begins(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which bytes of UTF-8 begin a character."""
    return data & 0xC0 != 0x80


def _bytes(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again") from None


def _is_list(data: bytes) -> bool:
    body = data.strip(b"\n")
    count = body.count(b"\n") + 1
    if count < _LINES or re.search(rb"\n[ \t]*\n", body):
        return False
    lines = body.split(b"\n") if count <= _LOOKED_AT else _spread(body)
    lengths = sorted(len(line.decode()) for line in lines)
    return lengths[-1] <= _LONGEST and lengths[len(lengths) // 2] < _MEDIAN and len(set(lines)) >= len(lines) / 2


def _spread(body: bytes) -> list[bytes]:
    """Lines at even distances."""
    lines = {}
    for at in np.linspace(0, len(body) - 1, _LOOKED_AT).astype(int).tolist():
        start, stop = body.rfind(b"\n", 0, at) + 1, body.find(b"\n", at)
        lines[start] = body[start : stop if stop >= 0 else len(body)]
    return list(lines.values())
