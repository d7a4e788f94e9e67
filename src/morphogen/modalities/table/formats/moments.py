"""Dates and times as they are written: the order of their parts, their separators and their width."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from .column import ColumnFormat, Unreadable, strings
from .month_names import Case, month_names

# Directives of strftime; `-` leaves out leading zeros, as in the C library of Linux, `%3f` is three decimal places, and
# `%:z` is an offset such as +01:00.
_DIRECTIVE = re.compile(r"%([-:]?)(\d?)([YymdHIMSfpPBbz])")
_HALVES = {"p": ("AM", "PM"), "P": ("am", "pm")}
_WIDTHS = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "I": 2, "M": 2, "S": 2}


@final
@dataclass(frozen=True, kw_only=True)
class MomentFormat(ColumnFormat):
    """Dates (date32), times of day (time64) or both (timestamp) in a `pattern` of strftime's directives.

    What the pattern spells out, such as a zone that all cells share, is the same in every cell. `whole_numbers`: cells
    are int64, such as 20240320. `loose`: cells are any that ISO 8601 allows, such as with zones or seconds that only
    some have, and are written alike; those with zones in UTC. `zone` is the time zone whose offsets `%z` writes, with
    summer time; its moments are timestamps of that zone. Months have the names of a `language`, in a `case`.
    """

    kind: ClassVar[str] = "moment"
    pattern: str
    whole_numbers: bool = False
    loose: bool = False
    zone: str = ""
    language: str = "en"
    case: Case = ""

    def __post_init__(self) -> None:
        """Raise ValueError on a zone, language or case that is unknown."""
        import pyarrow as arrow
        import pyarrow.compute as compute

        month_names(self.language, "B", self.case)
        if self.zone:
            compute.local_timestamp(arrow.array([0]).cast(arrow.timestamp("s", self.zone)))

    @property
    def textual(self) -> bool:  # type: ignore[override]
        return not self.whole_numbers

    @cached_property
    def _fields(self) -> list[tuple[str, str, str]]:
        return _DIRECTIVE.findall(self.pattern)

    @cached_property
    def _type(self) -> Any:
        import pyarrow as arrow

        letters = {letter for _, _, letter in self._fields}
        fine = "f" in letters
        if not letters & set("HI"):
            return arrow.date32()
        if not letters & set("Yy"):
            return arrow.time64("us") if fine else arrow.time32("s")
        return arrow.timestamp("us" if fine else "s", self.zone or None)

    def _names(self, letter: str) -> tuple[str, ...]:
        """Return the words that a directive is written as."""
        return month_names(self.language, letter, self.case) if letter in "Bb" else _HALVES[letter]

    @cached_property
    def _expression(self) -> str:
        """The regular expression of a cell, in the syntax of RE2."""
        parts, end = [], 0
        for number, match in enumerate(_DIRECTIVE.finditer(self.pattern)):
            parts.append(re.escape(self.pattern[end : match.start()]))
            bare, width, letter = match.groups()
            if letter in "BbpP":
                body = "|".join(map(re.escape, self._names(letter)))
            elif letter == "z":
                body = f"[+-][0-9]{{2}}{bare}[0-9]{{2}}"
            elif letter == "f":
                body = f"[0-9]{{{width}}}"
            else:
                body = "[0-9]{1,2}" if bare else f"[0-9]{{{_WIDTHS[letter]}}}"
            parts.append(f"(?P<f{number}>{body})")
            end = match.end()
        return "^" + "".join(parts) + re.escape(self.pattern[end:]) + "$"

    def read_distinct(self, cells: Any) -> Any:
        import pyarrow as arrow
        import pyarrow.compute as compute

        texts = compute.cast(cells, arrow.string())
        if self.loose:
            return self._read_loosely(texts)
        matches = compute.extract_regex(texts, self._expression)
        wrong = np.asarray(compute.is_null(matches).to_numpy(zero_copy_only=False))
        values: dict[str, NDArray[np.int64]] = {}
        for number, (_, width, letter) in enumerate(self._fields):
            field = compute.fill_null(matches.field(number), "")
            if letter in "BbpP":
                own = compute.index_in(field, strings(self._names(letter))).fill_null(0).to_numpy() + (letter in "Bb")
            elif letter == "z":
                own = _offsets(field)
            else:
                own = compute.if_else(compute.equal(field, ""), "0", field).cast(arrow.int64()).to_numpy()
            values[letter] = np.asarray(own, np.int64) * (10 ** (6 - int(width)) if letter == "f" else 1)
        days, impossible = _days(values)
        seconds, wrong_time = _seconds(values)
        seconds = seconds - values.get("z", np.zeros_like(seconds))
        wrong = wrong | impossible | wrong_time
        if wrong.any():
            raise Unreadable(texts[int(wrong.argmax())].as_py(), self.words)
        return self._to_arrow(days, seconds, values.get("f", np.zeros(len(cells), np.int64)))

    def _read_loosely(self, texts: Any) -> Any:
        import pyarrow as arrow
        import pyarrow.compute as compute
        import pyarrow.types as types

        is_time = types.is_time(self._type)
        try:
            texts = compute.binary_join_element_wise("1970-01-01", texts, " ") if is_time else texts
            zone = "UTC" if self.pattern.endswith("Z") else None
            counted = texts.cast(arrow.timestamp(self._type.unit, zone)).cast(arrow.int64())
            return (counted.cast(arrow.int32()) if self._type.bit_width == 32 else counted).cast(self._type)
        except arrow.ArrowInvalid as error:
            raise Unreadable(str(error).partition("'")[2].partition("'")[0], self.words) from None

    def _to_arrow(self, days: NDArray[np.int64], seconds: NDArray[np.int64], micros: NDArray[np.int64]) -> Any:
        import pyarrow as arrow
        import pyarrow.types as types

        if types.is_date32(self._type):
            return arrow.array(days.astype(np.int32)).cast(self._type)
        total = seconds if types.is_time(self._type) else days * 86_400 + seconds
        if self._type.unit == "us":
            return arrow.array(total * 1_000_000 + micros).cast(self._type)
        return arrow.array(total.astype(np.int32) if types.is_time(self._type) else total).cast(self._type)

    def write_distinct(self, values: Any) -> Any:
        import pyarrow as arrow
        import pyarrow.compute as compute
        import pyarrow.types as types

        if types.is_date32(values.type):
            micros = compute.cast(values, arrow.int32()).to_numpy().astype(np.int64) * 86_400_000_000
        else:
            fine = arrow.time64("us") if types.is_time(values.type) else arrow.timestamp("us")
            micros = compute.cast(compute.cast(values, fine, safe=False), arrow.int64()).to_numpy()
        offset = np.zeros_like(micros)
        if self.zone:
            moments = arrow.array(micros).cast(arrow.timestamp("us", self.zone))
            local = compute.local_timestamp(moments).cast(arrow.int64()).to_numpy()
            micros, offset = local, (local - micros) // 1_000_000
        columns = []
        for bare, width, letter in self._fields:
            if letter == "z":
                columns.append(_offset_texts(offset, bare))
            elif letter in "BbpP":
                columns.append(_words(self._names(letter), micros, letter))
            else:
                columns.append(_field(letter, width, bare, micros))
        template = _DIRECTIVE.sub("%s", self.pattern)
        texts = strings([template % row for row in zip(*columns, strict=True)])
        return compute.cast(texts, arrow.int64()) if self.whole_numbers else texts

    def value(self, given: Any) -> Any:
        if isinstance(given, str) or (self.whole_numbers and isinstance(given, int)):
            return self.read_distinct(strings([str(given).strip()]))[0].as_py()
        return given

    @property
    def words(self) -> str:
        return f"a {'time' if 'Y' not in self.pattern and 'y' not in self.pattern else 'date'} as {self.pattern}"


def _days(values: dict[str, NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the days since 1970, and which do not exist."""
    some = next(iter(values.values()))
    if "Y" not in values and "y" not in values:
        return np.zeros_like(some), np.zeros(len(some), np.bool_)
    # Years of two digits as POSIX reads them.
    short = values.get("y", some)
    year = values["Y"] if "Y" in values else np.where(short < 69, 2000, 1900) + short
    month = next(values[letter] for letter in "mBb" if letter in values)
    first = (year - 1970).astype("M8[Y]").astype("M8[M]") + (np.clip(month, 1, 12) - 1)
    length = ((first + 1).astype("M8[D]") - first.astype("M8[D]")).astype(np.int64)
    impossible = (month < 1) | (month > 12) | (values["d"] < 1) | (values["d"] > length) | (year < 1)
    return first.astype("M8[D]").astype(np.int64) + values["d"] - 1, impossible


def _seconds(values: dict[str, NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the seconds since midnight, and which do not exist."""
    some = next(iter(values.values()))
    zero = np.zeros_like(some)
    hour, minute, second = (values.get(letter, zero) for letter in "HMS")
    wrong = (hour > 23) | (minute > 59) | (second > 59)
    if "I" in values:
        half = next(values[letter] for letter in "pP" if letter in values)
        hour = values["I"] % 12 + 12 * half
        wrong |= (values["I"] < 1) | (values["I"] > 12)
    return hour * 3600 + minute * 60 + second, wrong


def _field(letter: str, width: str, bare: str, micros: NDArray[np.int64]) -> list[str]:
    """Return one part of each moment, counted in microseconds since 1970, as text."""
    days, rest = micros // 86_400_000_000, micros % 86_400_000_000
    hour = rest // 3_600_000_000
    if letter in "Yymd":
        date = days.astype("M8[D]")
        year = date.astype("M8[Y]").astype(np.int64) + 1970
        month = date.astype("M8[M]").astype(np.int64) % 12
        day = (date - date.astype("M8[M]")).astype(np.int64) + 1
        numbers = {"Y": year, "y": year % 100, "m": month + 1, "d": day}[letter]
    elif letter == "f":
        numbers = rest % 1_000_000 // 10 ** (6 - int(width))
        return [f"{number:0{width}d}" for number in numbers.tolist()]
    else:
        minutes, seconds = rest // 60_000_000 % 60, rest // 1_000_000 % 60
        numbers = {"H": hour, "I": (hour + 11) % 12 + 1, "M": minutes, "S": seconds}[letter]
    return [str(one) if bare else f"{one:0{_WIDTHS[letter]}d}" for one in numbers.tolist()]


def _words(names: tuple[str, ...], micros: NDArray[np.int64], letter: str) -> list[str]:
    """Return the name of each moment's month, or of its half of the day."""
    if letter in "pP":
        numbers = micros // 3_600_000_000 % 24 // 12
    else:
        numbers = (micros // 86_400_000_000).astype("M8[D]").astype("M8[M]").astype(np.int64) % 12
    return [names[number] for number in numbers.tolist()]


def _offsets(texts: Any) -> NDArray[np.int64]:
    """Return the seconds of offsets such as +01:00; 0 where a text is empty."""
    seconds = {
        text: int(f"{text[0]}1") * (int(text[1:3]) * 3600 + int(text[-2:]) * 60) if text else 0
        for text in texts.unique().to_pylist()
    }
    return np.array([seconds[text] for text in texts.to_pylist()], np.int64)


def _offset_texts(seconds: NDArray[np.int64], colon: str) -> list[str]:
    """Return offsets in seconds as text."""
    minutes = [(one < 0, *divmod(abs(one) // 60, 60)) for one in seconds.tolist()]
    return [f"{'-' if below else '+'}{hours:02d}{colon}{rest:02d}" for below, hours, rest in minutes]
