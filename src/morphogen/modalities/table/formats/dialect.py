"""The dialect of a csv file, from its first lines: delimiter, header, quotes, line ends, byte order mark; encoding."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from morphogen.core.encodings import ENCODINGS

MARKS = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "#N/A", "?", "-")
_DELIMITERS = ",;\t|"
_LINES = 50  # that are looked at
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)  # by which Excel is told the delimiter
_DECIMAL_COMMA = re.compile(r"\d,\d")
_YEARS = range(1800, 2200)


@dataclass(frozen=True)
class Dialect:
    """How the lines of a csv file are written."""

    delimiter: str = ","
    space: str = ""  # after each delimiter
    header: bool = True
    quoted: tuple[bool, ...] = ()  # by column, whether all its cells stand in quotes; none: only those that need it
    quoted_header: bool = False
    quoted_missing: bool = False
    line_end: str = "\n"
    byte_order_mark: bool = False
    separator_line: bool = False  # whether `sep=;` stands above
    last_line_ends: bool = True
    nameless: tuple[str, ...] = ()  # columns without a name in the header, by the names that they have here
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"unknown encoding '{self.encoding!s:.20}'")


class Head(NamedTuple):
    """What the first lines of a csv file say."""

    dialect: Dialect
    names: list[str]
    skipped: int  # lines above the header, or above the first row where there is none


def infer_dialect(text: str, *, complete: bool, last_line_ends: bool) -> Head | None:
    """Return the dialect of the text at the start of a csv file; None: it is blank.

    `complete`: the text is the whole file, its last line uncut. `last_line_ends`: the file ends with a line end.
    """
    mark, text = text.startswith("\ufeff"), text.removeprefix("\ufeff")
    all_lines = text.splitlines()
    lines = [line for line in all_lines if line.strip(" ")][:_LINES]  # tabs alone may be a row of missing cells
    if not any(line.strip() for line in lines):
        return None
    skipped = all_lines.index(lines[0])
    if not complete and len(lines) > 2 and len(lines) < _LINES:
        lines = lines[:-1]
    separator = _SEPARATOR_LINE.fullmatch(lines[0].strip('"'))
    above = 1 if len(lines) > 1 and separator else _remarks(lines)
    lines = lines[above:]
    delimiter = separator[1] if separator else _delimiter(lines)
    rows = [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row]
    first, rest = rows[0], rows[1:]
    header = is_header(first, rest)
    bare = [re.sub(r'"[^"]*"', '""', line) for line in lines[header:] or lines]
    spaced = delimiter != "\t" and len(first) > 1
    spaced = spaced and all(line.count(delimiter) == line.count(f"{delimiter} ") > 0 for line in bare)
    cells = [cell.strip() if header else "" for cell in first]
    names = [cell or f"c{number}" for number, cell in enumerate(cells, 1)]
    quoted, quoted_header, quoted_missing = _quoted(lines, delimiter, header)
    dialect = Dialect(
        delimiter=delimiter,
        space=" " if spaced else "",
        header=header,
        quoted=quoted if any(quoted) else (),
        quoted_header=quoted_header,
        quoted_missing=quoted_missing,
        line_end="\r\n" if "\r\n" in text else "\n",
        byte_order_mark=mark,
        separator_line=bool(separator),
        last_line_ends=last_line_ends,
        nameless=tuple(name for name, cell in zip(names, cells, strict=True) if header and not cell),
    )
    return Head(dialect, names, skipped + above)


def _remarks(lines: Sequence[str]) -> int:
    """Return how many lines above the header are remarks: `# …` and, as in UCI's test files, `|…`, without cells."""
    count = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    if count:
        mark = _delimiter(lines[count:])
        return 0 if any(mark in line for line in lines[:count]) or mark not in lines[count] else count
    return int(len(lines) > 1 and lines[0].startswith("|") and not any("|" in line for line in lines[1:]))


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that divides most lines alike; a comma where none does, or only as a decimal mark."""

    bare = [re.sub(r'"[^"]*"', "", line) for line in lines]

    def score(mark: str) -> tuple[bool, bool, int]:
        counts = [line.count(mark) for line in bare]
        alike = counts.count(counts[0]) > 0.7 * len(counts) and counts[0] > 0
        decimal = mark == "," and all(len(_DECIMAL_COMMA.findall(line)) == line.count(",") for line in bare[1:] or bare)
        return alike, not decimal, counts[0]

    best = max(_DELIMITERS, key=score)
    if score(best)[0]:
        return best
    # A file of one column: what stands in no line, unless some line should have been divided.
    absent = next((mark for mark in _DELIMITERS if not any(mark in line for line in bare)), ",")
    return "," if "," in bare[0] else absent


def _quoted(lines: Sequence[str], delimiter: str, header: bool) -> tuple[tuple[bool, ...], bool, bool]:
    """Return whether each column's cells stand in quotes, whether those of the header do, and missing ones."""
    rows = [_raw_cells(line, delimiter) for line in lines]
    body = rows[header:] or rows
    width = len(rows[0])
    columns = [[row[number] for row in body if number < len(row)] for number in range(width)]
    present = [[cell for cell in column if cell.strip('"') not in MARKS] for column in columns]
    quoted = tuple(bool(column) and all(cell.startswith('"') for cell in column) for column in present)
    header_quoted = header and any(cell.startswith('"') for cell in rows[0])
    in_quotes = [cell[1:-1] for column in present for cell in column if cell[:1] == '"']
    if not header_quoted and all(delimiter in cell or '""' in cell for cell in in_quotes):
        quoted = (False,) * width  # they are needed
    return quoted, header_quoted, any('""' in column for column in columns)


def _raw_cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line with their quotes."""
    mark = re.escape(delimiter)
    return [cell.strip() for cell in re.findall(rf'(?:^|{mark})(\s*"(?:[^"]|"")*"|[^{mark}]*)', line)]


def is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Return whether the first line holds names.

    A word above numbers is a name, and so is a date. Where there is none, names are no numbers, unless they count
    something such as years and the cells below do not; and no name stands in a cell below it.
    """
    from .moment_patterns import is_moment
    from .numbers import is_number

    columns = [[row[number] for row in rest if number < len(row)] for number in range(len(first))]
    present = [[cell for cell in column if cell.strip() not in MARKS] for column in columns]
    numbers = [number for number, cell in enumerate(first) if looks_like_a_value(cell)]
    for number, (cell, below) in enumerate(zip(first, present, strict=True)):
        is_word = number not in numbers and cell.strip() not in MARKS
        if is_word and below and all(map(looks_like_a_value, below)):
            return True
        are_numbers = all(is_number(one.strip()) and not is_moment(one.strip()) for one in below)
        if below and are_numbers and is_moment(cell.strip()):
            return True
    if all(cell.strip() in MARKS for cell in first) or any(cell.strip() in MARKS[1:] for cell in first):
        return False
    if numbers:
        return bool(rest) and _counts(first, numbers) and not any(_counts(row, numbers) for row in rest)
    if any(looks_like_a_value(cell) for row in rest for cell in row):
        return True
    return not any(cell in column for cell, column in zip(first, columns, strict=True))


def _counts(row: Sequence[str], numbers: Sequence[int]) -> bool:
    """Return whether these cells of a row are years, or 0, 1, 2 …, in equal steps."""
    cells = [row[number] for number in numbers if number < len(row)]
    if len(cells) < 2 or not all(cell.isascii() and cell.isdecimal() for cell in cells):
        return False
    values = [int(cell) for cell in cells]
    steps = {later - earlier for earlier, later in pairwise(values)}
    if len(steps) != 1 or steps == {0}:
        return False
    start = (0,) if len(cells) == len(row) else (0, 1)
    from_start = values[0] in start and steps == {1} and len(values) > 2
    return from_start or all(value in _YEARS for value in values)


def looks_like_a_value(cell: str) -> bool:
    """Return whether a cell is a number, a date or a time, however it is written, and so no name."""
    from .moment_patterns import is_moment
    from .numbers import is_number

    cell = cell.strip()
    return is_number(cell) or is_moment(cell)
