"""The encoding of a text file: UTF-8, UTF-16 by its byte order mark, or else what Windows writes in Western Europe."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from .errors import BadItem

# In words for the user. The names are Python's.
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "cp1252": "Windows-1252",
    "latin-1": "Latin-1",
}

_BLOCK = 1 << 22
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ASCII = bytes(range(128))
_WITHOUT_ASCII = dict.fromkeys(range(128))
_NO_CP1252 = b"\x81\x8d\x8f\x90\x9d"  # bytes that Windows-1252 does not have
_NO_TEXT = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a\x1b")


def open_bytes(path: Path) -> BinaryIO:
    """Open a file to read its bytes, unpacked where its name ends with .gz."""
    return cast("BinaryIO", gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb"))


def text_encoding(path: Path) -> str:
    """Return the encoding of a whole text file, plain or gzipped, one of `ENCODINGS`, in bounded memory.

    Raises BadItem where the file is no text, or UTF-8 but for a few bytes, and what the disk raises.
    """
    with open_bytes(path) as file:
        start = file.read(2)
    marked = next((encoding for mark, encoding in _MARKS if start == mark), None)
    if marked is not None:
        _check_utf16(path, marked)
        return marked
    at = _first_error(path)
    return "utf-8" if at is None else _single_byte(path, at)


def _blocks(path: Path) -> Iterator[bytes]:
    with open_bytes(path) as file:
        while block := file.read(_BLOCK):
            yield block


def _check_utf16(path: Path, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in _blocks(path):
            if "\0" in decoder.decode(block):
                raise BadItem(f"{path} holds NUL characters, so it is no text; save it as UTF-8")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BadItem(f"{path} is marked as UTF-16 and is not ({error.reason}); save it as UTF-8") from None


def _first_error(path: Path) -> int | None:
    """Return the line, from 1, in which the first bytes stand that are not UTF-8; None: there are none."""
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 1
    for block in _blocks(path):
        pending = len(decoder.getstate()[0])  # bytes of a character that the block before did not finish
        try:
            if pending or not block.isascii():
                decoder.decode(block)
        except UnicodeDecodeError as error:
            return lines + block.count(b"\n", 0, max(0, error.start - pending))
        lines += block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return lines
    return None


def _single_byte(path: Path, line: int) -> str:
    """Return the encoding of a file that is not UTF-8, the first time in that line."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    high = encoded = characters = 0  # bytes above ASCII; those of them that are UTF-8, and the characters that they are
    name = "cp1252"
    for block in _blocks(path):
        if len(block.translate(None, _NO_TEXT)) < len(block):
            raise BadItem(f"{path} holds control characters, so it is no text; expected a table as UTF-8")
        high += len(block.translate(None, _ASCII))
        others = decoder.decode(block).translate(_WITHOUT_ASCII)
        encoded, characters = encoded + len(others.encode()), characters + len(others)
        if any(byte in block for byte in _NO_CP1252):
            name = "latin-1"
    # By accident, letters of Windows-1252 seldom make a character of UTF-8.
    if characters > high - encoded:
        raise BadItem(f"{path}: line {line} is not UTF-8, though the rest is; mend that line")
    return name
