"""Which patterns the dates and times of a column have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from .column import proven
from .moments import SHORT_MONTHS, MomentFormat

_DATE = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{1,2})([-/.])(\d{1,2})\6(\d{4}|\d{2})|\d{8}")
_NAMED = re.compile(r"(\d{1,2})([ -])([A-Za-z]{3,9})([ -])(\d{4}|\d{2})|([A-Za-z]{3,9}) (\d{1,2}), (\d{4})")
_TIME = re.compile(r"(\d{1,2}):(\d{2})(:(\d{2})(\.(\d{1,6}))?)?( ?)([AaPp][Mm])?")
_DIGITS = re.compile(r"\d{8}(\d{4}(\d{2})?)?")
_ZONE = re.compile(r"(Z| ?UTC| ?GMT| ?[+-]\d{2}:?\d{2})$")
_FIRST_YEAR, _LAST_YEAR = 1850, 2150  # of dates that are written in digits alone


def is_moment(cell: str) -> bool:
    """Return whether a cell may be a date or a time."""
    return next(_patterns(cell), None) is not None


def infer_moments(cells: Any) -> MomentFormat | None:
    """Return the format of distinct cells, of which none is missing; None: they are not dates or times of one form.

    Where days and months could change places, a point between them says that the day comes first, and a slash that
    the month does, unless the other order makes the cells rise.
    """
    if not len(cells):
        return None
    texts = cells.to_pylist()
    longest = max(texts[:1000], key=len)
    if _DIGITS.fullmatch(longest) and not _plausible(texts):
        return None
    able = [one for pattern in _patterns(longest) if proven(one := MomentFormat(pattern=pattern), cells)]
    rising = [one for one in able[:2] if _rises(one, cells)]
    return next(iter(rising or able), None) or _infer_loosely(cells, longest)


def _infer_loosely(cells: Any, longest: str) -> MomentFormat | None:
    """Return the format of moments of ISO 8601 that are not all written alike; None: they are not."""
    second = "%S.%6f" if "." in longest else "%S"
    join = "T" if "T" in longest else " "
    for pattern in (f"%H:%M:{second}", f"%Y-%m-%d{join}%H:%M:{second}", f"%Y-%m-%d{join}%H:%M:{second}Z"):
        one = MomentFormat(pattern=pattern, loose=True)
        try:
            one.read_distinct(cells)
        except ValueError:
            continue
        return one
    return None


def infer_whole_numbers(cells: Any) -> MomentFormat | None:
    """Return the format of distinct whole numbers that are all dates such as 20240320; None: they are not."""
    one = MomentFormat(pattern="%Y%m%d", whole_numbers=True)
    return one if len(cells) > 1 and _plausible(cells.to_pylist()) and proven(one, cells) else None


def _plausible(numbers: list[Any]) -> bool:
    return all(_FIRST_YEAR <= int(str(number)[:4] or 0) <= _LAST_YEAR for number in numbers) and all(
        len(str(number)) >= 8 for number in numbers
    )


def _rises(one: MomentFormat, cells: Any) -> bool:
    import pyarrow as arrow

    days = one.read_distinct(cells)
    kind = arrow.int32() if days.type.bit_width == 32 else arrow.int64()
    steps = np.diff(days.cast(kind).to_numpy())
    return len(steps) > 1 and bool((steps > 0).all() or (steps < 0).all())


def _patterns(text: str) -> Iterator[str]:
    """Yield the patterns that a cell may have."""
    if _DIGITS.fullmatch(text):
        if _plausible([text]):
            yield {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}[len(text)]
        return
    zone = _ZONE.search(text)
    end = zone[0] if zone and ":" in text[: zone.start()] else ""
    bare = text.removesuffix(end)
    time = _TIME.search(bare)
    clock = ""
    if time and time.end() == len(bare):
        clock, bare = time[0], bare[: time.start()]
    join = bare[len(bare.rstrip(" T,")) :] if clock and bare else ""
    date = bare.removesuffix(join)
    for day in _date_patterns(date) if date else [""]:
        for hour in _time_patterns(clock) if clock else [""]:
            if day or hour:
                yield f"{day}{join}{hour}{end}"


def _date_patterns(text: str) -> list[str]:
    if match := _NAMED.fullmatch(text):
        name = match[3] or match[6]
        month = "%b" if name in SHORT_MONTHS else "%B"
        if match[6]:
            return [f"{month} {day}, %Y" for day in ("%d", "%-d")]
        year = "%Y" if len(match[5]) == 4 else "%y"
        options = [month] if name != "May" else ["%b", "%B"]
        return [f"{day}{match[2]}{one}{match[4]}{year}" for one in options for day in ("%d", "%-d")]
    match = _DATE.fullmatch(text)
    if match is None:
        return []
    if match[1]:
        return [f"%Y{match[2]}{m}{match[2]}{d}" for m, d in (("%m", "%d"), ("%-m", "%-d"))]
    if not match[5]:
        return ["%Y%m%d"]
    mark, year = match[6], "%Y" if len(match[8]) == 4 else "%y"
    orders: list[Literal["dm", "md"]] = ["md", "dm"] if mark == "/" else ["dm", "md"]
    pairs = [(f"%{order[0]}", f"%{order[1]}") for order in orders]
    pairs += [(f"%-{order[0]}", f"%-{order[1]}") for order in orders]
    return [f"{one}{mark}{other}{mark}{year}" for one, other in pairs]


def _time_patterns(text: str) -> list[str]:
    match = _TIME.fullmatch(text)
    if match is None:
        return []
    rest = ":%M" + (":%S" if match[3] else "") + (f".%{len(match[6])}f" if match[6] else "")
    if match[8]:
        half = "%p" if match[8].isupper() else "%P"
        return [f"{hour}{rest}{match[7]}{half}" for hour in ("%I", "%-I")]
    return [] if match[7] else [f"{hour}{rest}" for hour in ("%H", "%-H")]
