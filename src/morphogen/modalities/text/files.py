"""Text files: reading one, checking a text in memory, writing many."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from morphogen.core.config import replacing
from morphogen.core.errors import BadItem, UserError
from morphogen.core.files import guard, read_bytes

SUFFIXES = (".txt", ".md", ".txt.gz", ".md.gz")  # lower case

_BLOCK = 1 << 24  # bytes that are looked at together
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read(raw: Any, name: str) -> str:
    """Return the text in a file, plain or gzipped, in bytes or in a string, with LF as line ends.

    Raises BadItem with `name` and the line if it is no text.
    """
    if isinstance(raw, str):
        return checked(raw, name)
    if isinstance(raw, bytes):
        return plain(raw, name).decode()
    if not isinstance(raw, Path):
        raise BadItem(f"{name} is no text but a {type(raw).__name__}; expected a str")
    return read_plain(raw, name).decode()


def read_plain(path: Path, name: str) -> bytes:
    """Return the text in a file, plain or gzipped, as `plain` does. Raises BadItem with `name`."""
    with guard(name, "cannot be read", "fetch it again, or remove it", BadItem):
        return plain(read_bytes(path, name), name)


def plain(data: bytes, name: str) -> bytes:
    """Return the text in bytes of UTF-8, or of UTF-16 or 32 with a mark, as UTF-8 with LF. Raises BadItem."""
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    if encoding:
        try:
            data = data.decode(encoding).encode()
        except UnicodeError as error:
            raise BadItem(f"{name} is marked as {encoding.upper()} and is not ({error}); save it as UTF-8") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if (at := data.find(0)) >= 0:
        raise BadItem(
            f"{name}: line {_line(data, at)} holds a NUL byte, so it is no text, or UTF-16 without its mark; "
            "save it as UTF-8, or remove it"
        )
    _check_utf8(data, name)
    if b"\r\n" in data:
        data = data.replace(b"\r\n", b"\n")
    if data.isspace() or not data:
        raise BadItem(f"{name} is empty; remove it")
    return data


def checked(text: str, name: str) -> str:
    """Return a text from memory or a cell, with LF as line ends. Raises BadItem if it is empty or no text."""
    if not text.strip():
        raise BadItem(f"{name} is empty; remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadItem(f"{name} holds half a character, U+{ord(text[error.start]):04X}; mend or remove it") from None
    if "\0" in text:
        raise BadItem(f"{name} holds a NUL character, so it is no text; remove it")
    return text.replace("\r\n", "\n")


def write(items: Iterable[str], folder: Path) -> list[Path]:
    """Write `00000.txt` and so on, each whole or not at all. Raises UserError where the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"could not make the folder {folder}: {error.strerror}; choose another --out") from None
    paths = []
    for number, item in enumerate(items):
        path = folder / f"{number:05d}.txt"
        with replacing(path) as temporary:
            temporary.write_bytes(item.encode())
        paths.append(path)
    return paths


def _check_utf8(data: bytes, name: str) -> None:
    """Raise BadItem on bytes that are not UTF-8. Decodes block by block, so that memory holds the text only once."""
    if data.isascii():
        return
    view, decoder, others = memoryview(data), codecs.getincrementaldecoder("utf-8")(), False
    for start in range(0, len(data), _BLOCK):
        pending = len(decoder.getstate()[0])  # bytes of a character that the block before did not finish
        try:
            text = decoder.decode(view[start : start + _BLOCK], final=start + _BLOCK >= len(data))
        except UnicodeDecodeError as error:
            at = start - pending + error.start
            mixed = others or not data[start : max(start, at)].isascii()
            raise BadItem(
                f"{name}: line {_line(data, at)} holds the byte 0x{data[at]:02X}, which is not UTF-8 there"
                + (", though lines before it are: " if mixed else ", but perhaps Windows-1252: ")
                + ("mend that line" if mixed else "save it as UTF-8")
            ) from None
        others = others or not text.isascii()


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1
