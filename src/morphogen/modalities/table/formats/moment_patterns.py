"""Which patterns the dates and times of a column have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from .column import proven
from .moments import MomentFormat
from .month_names import naming

_DATE = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{1,2})([-/.])(\d{1,2})\6(\d{4}|\d{2})|\d{8}")
_NAMED = re.compile(
    r"(\d{1,2})(\. |[ /-]| de )([^\W\d_]{3,10}\.?)([ /-]| de )(\d{4}|\d{2})|([^\W\d_]{3,9}\.?) (\d{1,2}), (\d{4})"
)
_TIME = re.compile(r"(\d{1,2}):(\d{2})(:(\d{2})(\.(\d{1,6}))?)?( ?)([AaPp][Mm])?")
_DIGITS = re.compile(r"\d{8}(\d{4}(\d{2})?)?")
_ZONE = re.compile(r"(Z| ?UTC| ?GMT| ?[+-]\d{2}:?\d{2})$")
_OFFSET = r"[+-]\d{2}:?\d{2}$"
# Zones with summer time, and their offsets in minutes; of two that agree, the larger city.
_ZONES = {
    "Europe/Berlin": (60, 120),
    "Europe/London": (0, 60),
    "Europe/Athens": (120, 180),
    "America/New_York": (-300, -240),
    "America/Chicago": (-360, -300),
    "America/Denver": (-420, -360),
    "America/Los_Angeles": (-480, -420),
    "America/Anchorage": (-540, -480),
    "America/Halifax": (-240, -180),
    "America/St_Johns": (-210, -150),
    "America/Santiago": (-240, -180),
    "Asia/Jerusalem": (120, 180),
    "Australia/Sydney": (600, 660),
    "Australia/Adelaide": (570, 630),
    "Pacific/Auckland": (720, 780),
}
_FIRST_YEAR, _LAST_YEAR = 1850, 2150  # of dates that are written in digits alone


def is_moment(cell: str) -> bool:
    """Return whether a cell may be a date or a time."""
    return next(_formats(cell), None) is not None


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
    able = [one for one in _formats(longest) if proven(one, cells)]
    rising = [one for one in able[:2] if _rises(one, cells)]
    return next(iter(rising or able), None) or _infer_zone(cells, longest) or _infer_loosely(cells, longest)


def _infer_zone(cells: Any, longest: str) -> MomentFormat | None:
    """Return the format of moments whose offsets are those of a zone with summer time; None: they are not."""
    import pyarrow.compute as compute

    texts = compute.extract_regex(cells, f"(?P<offset>{_OFFSET[:-1]})$")
    offsets = set(compute.unique(compute.struct_field(texts, "offset")).to_pylist())
    if None in offsets:
        return None
    minutes = {int(f"{one[0]}1") * (60 * int(one[1:3]) + int(one[-2:])) for one in offsets}
    for zone, own in _ZONES.items():
        for one in _formats(longest) if minutes == set(own) else ():
            pattern = re.sub(_OFFSET, "%:z" if one.pattern[-3] == ":" else "%z", one.pattern)
            if proven(able := replace(one, pattern=pattern, zone=zone), cells):
                return able
    return None


def _infer_loosely(cells: Any, longest: str) -> MomentFormat | None:
    """Return the format of moments of ISO 8601 that are not all written alike; None: they are not."""
    import pyarrow.compute as compute

    second = "%S.%6f" if "." in longest else "%S"
    join = "T" if "T" in longest else " "
    for pattern in (f"%H:%M:{second}", f"%Y-%m-%d{join}%H:%M:{second}", f"%Y-%m-%d{join}%H:%M:{second}Z"):
        if pattern.startswith("%H") and not compute.all(compute.match_substring(cells, ":")).as_py():
            continue  # to Arrow, `10` is ten o'clock
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


def _formats(text: str) -> Iterator[MomentFormat]:
    """Yield the formats that a cell may have."""
    if _DIGITS.fullmatch(text):
        if _plausible([text]):
            yield MomentFormat(pattern={8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}[len(text)])
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
    named = _NAMED.fullmatch(date)
    days = _named_days(named) if named else [MomentFormat(pattern=one) for one in _date_patterns(date) if date]
    for day in days if date else [MomentFormat(pattern="")]:
        for hour in _time_patterns(clock) if clock else [""]:
            if day.pattern or hour:
                yield replace(day, pattern=f"{day.pattern}{join}{hour}{end}")


def _named_days(match: re.Match[str]) -> Iterator[MomentFormat]:
    """Yield the formats of a date with the name of a month."""
    for letter, language, case in naming(match[3] or match[6]):
        for day in ("%d", "%-d"):
            year = "%y" if match[5] and len(match[5]) == 2 else "%Y"
            pattern = f"%{letter} {day}, %Y" if match[6] else f"{day}{match[2]}%{letter}{match[4]}{year}"
            yield MomentFormat(pattern=pattern, language=language, case=case)


def _date_patterns(text: str) -> list[str]:
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
