"""Numbers as they are written: decimal mark, thousands, currency or unit, percent, sign, decimal places."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

from .column import ColumnFormat, Unreadable, proven, strings

_EXACT_DIGITS = 15  # significant decimal digits that a double always keeps
_PLAIN = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?", re.IGNORECASE)
_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_CURRENCY = (
    r"(?:[A-Z]{0,3}[$€£¥₹₽₩₺₫₪₴฿₱₦]|EUR|USD|GBP|CHF|JPY|CNY|SEK|NOK|DKK|PLN|CZK|HUF|RON|TRY|BRL|INR|AUD|CAD|NZD|ZAR|MXN"
    r"|RUB|Rs\.?|kr\.?|zł|Kč|Fr\.)"
)
_UNIT = (
    r"(?:%|‰|°[CF]?|[µmck]?[mgl]|km/h|m/s|mph|[kMG]?Wh?|lbs?|oz|ft|in|yd|mi|[kMGT]i?B|[hsd]|min|ms|yrs?|years?|days?"
    r"|hours?|pts?|px|bpm|mmHg|ha|[mk]?m[²³])"
)
_SPACE = "[ \u00a0\u202f]?"
_WRITTEN = re.compile(
    rf"(?P<open>\()?(?P<before>[-+]?)(?P<prefix>(?:{_CURRENCY}{_SPACE})?)(?P<inside>[-+]?)"
    rf"(?P<body>\d(?:[\d.,'’ \u00a0\u202f]*\d)?|\.\d+)"
    rf"(?P<suffix>(?:{_SPACE}(?:{_CURRENCY}|{_UNIT}))?)(?P<after>-?)(?P<close>\))?"
)

Style = Literal["integer", "fixed", "shortest", "point", "scientific", "general", "scaled"]


@final
@dataclass(frozen=True, kw_only=True)
class NumberFormat(ColumnFormat):
    """Numbers; whole ones and `scaled` ones are int64, all others float64.

    `style`: `integer`; `fixed`, always `digits` decimal places; `shortest`, as many as it takes; `point`, the same and
    at least one; `scientific`, `digits` places and an exponent of at least `exponent_digits`; `general`, as fixed, but
    numbers nearer to zero than `least_plain`, and from `most_plain` on, scientific with `mantissa_digits` places;
    `scaled`, as fixed, but with more digits than float64 holds, so that plain values are counted in units of the last
    place. `negative` says where a minus stands: before all, after all, inside (behind the prefix), or as parentheses
    around all.
    """

    kind: ClassVar[str] = "number"
    style: Style = "integer"
    digits: int = 0
    decimal: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    negative: Literal["before", "after", "inside", "parentheses"] = "before"
    plus: bool = False
    capital: bool = False  # an exponent is E
    exponent_digits: int = 2
    mantissa_digits: int = 0
    least_plain: float = 0.0
    most_plain: float | None = None

    @property
    def _bare(self) -> bool:
        return self.decimal == "." and not (self.thousands or self.prefix or self.suffix)

    def read_distinct(self, cells: Any) -> Any:
        import pyarrow as arrow
        import pyarrow.compute as compute

        kind = arrow.int64() if self.style in ("integer", "scaled") else arrow.float64()
        if self.style != "scaled" and self._bare and self.negative == "before":
            try:
                return compute.cast(compute.utf8_trim(cells, "+ \t"), kind)
            except arrow.ArrowInvalid:
                pass  # the first wrong cell is found below
        values = [self._value(cell) for cell in cells.to_pylist()]
        try:
            return arrow.array(values, kind)
        except OverflowError:
            raise Unreadable(max(cells.to_pylist(), key=len), f"{self.words}, of at most 64 bits") from None

    def value(self, given: Any) -> Any:
        is_number = isinstance(given, (int, float)) or hasattr(given, "as_tuple")
        if self.style == "scaled" and is_number:
            return NumberFormat(style="scaled", digits=self.digits).value(format(given, "f"))
        return super().value(given)

    def _value(self, cell: str) -> int | float:
        text = cell.strip()
        negative = False
        if text.startswith("(") and text.endswith(")"):
            negative, text = True, text[1:-1]
        for affix in ("", self.prefix):
            text = text.removeprefix(affix).lstrip() if affix else text
            if text[:1] in ("-", "+"):
                negative, text = negative or text[0] == "-", text[1:].lstrip()
        text = text.removesuffix(self.suffix) if self.suffix else text
        if text.endswith("-"):
            negative, text = True, text[:-1].rstrip()
        text = text.removesuffix(self.suffix) if self.suffix else text
        text = self._ungrouped(text, cell)
        text = (text.replace(self.decimal, ".") if self.decimal != "." else text).strip()
        if not _PLAIN.fullmatch(text):
            raise Unreadable(cell, self.words)
        if self.style in ("integer", "scaled"):
            whole, _, places = text.partition(".")
            scaled = self.digits if self.style == "scaled" else 0
            if len(places.rstrip("0")) > scaled or not f"{whole}{places}".isdecimal():
                raise Unreadable(cell, self.words)
            number: int | float = int(whole + places[:scaled].ljust(scaled, "0"))
        else:
            number = float(text)
        return -number if negative else number

    def _ungrouped(self, text: str, cell: str) -> str:
        """Return a number without marks between thousands. Raises Unreadable where they stand elsewhere.

        A user may write such marks where the column has none.
        """
        whole, mark, places = text.partition(self.decimal)
        thousands = self.thousands or ("." if self.decimal == "," else ",")
        first, *others = whole.split(thousands)
        if others and (len(first) > 3 or any(len(group) != 3 for group in others)):
            raise Unreadable(cell, self.words)
        return whole.replace(thousands, "") + mark + places

    def write_distinct(self, values: Any) -> Any:
        import pyarrow as arrow
        import pyarrow.compute as compute

        if self.style == "integer" and self._bare and self.negative == "before" and not self.plus:
            return compute.cast(values, arrow.string())
        return strings([self._text(value) for value in values.to_pylist()])

    def _text(self, value: int | float) -> str:
        body = self._body(abs(value))
        body = body.upper() if self.capital else body
        if self.thousands or self.decimal != ".":
            whole, point, places = body.partition(".")
            if self.thousands and whole.isdecimal():
                whole = f"{int(whole):,}".replace(",", self.thousands)
            body = f"{whole}{self.decimal if point else ''}{places}"
        # What is rounded to zero has no sign.
        is_negative = math.copysign(1, value) < 0 and (value == 0 or any(digit in body for digit in "123456789iI"))
        sign = "-" if is_negative else "+" if self.plus and value > 0 else ""
        if sign == "-" and self.negative == "parentheses":
            return f"({self.prefix}{body}{self.suffix})"
        if sign == "-" and self.negative == "after":
            return f"{self.prefix}{body}{self.suffix}-"
        if self.negative == "inside":
            return f"{self.prefix}{sign}{body}{self.suffix}"
        return f"{sign}{self.prefix}{body}{self.suffix}"

    def _body(self, value: int | float) -> str:
        if self.style == "integer":
            return str(round(value))
        if self.style == "scaled":
            digits = str(round(value)).rjust(self.digits + 1, "0")
            return f"{digits[: -self.digits]}.{digits[-self.digits :]}"
        is_plain = self.least_plain <= value and (self.most_plain is None or value < self.most_plain)
        if self.style == "general" and math.isfinite(value) and value and not is_plain:
            return self._exponent(f"{value:.{self.mantissa_digits}e}")
        if self.style in ("fixed", "general"):
            return f"{value:.{self.digits}f}"
        if self.style == "scientific":
            return self._exponent(f"{value:.{self.digits}e}")
        text = self._exponent(repr(float(value)))
        return text.removesuffix(".0") if self.style == "shortest" else text

    def _exponent(self, text: str) -> str:
        """Return a number of Python's with as many digits in its exponent as the column has."""
        mantissa, mark, exponent = text.partition("e")
        return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0').zfill(self.exponent_digits)}" if mark else text

    @property
    def words(self) -> str:
        """An example."""
        example = {"integer": 1234, "scaled": int("1234" + "5" * self.digits)}.get(self.style, 1234.5)
        return f"a number such as {self._text(example)}"


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, with a currency or a unit or without."""
    bare = cell[1:] if cell[:1] in ("-", "+") else cell
    return bool(_PLAIN.fullmatch(bare) or _WRITTEN.fullmatch(cell))


def infer_numbers(cells: Any, *, decimal_comma: bool = False) -> NumberFormat | None:
    """Return the format of distinct cells, of which none is missing; None: not all are numbers.

    It writes each cell back as it was or, where numbers are written in several ways, each value. `decimal_comma` says
    that a comma is a decimal mark where it could also divide thousands.
    """
    import pyarrow.compute as compute

    if not len(cells):
        return None
    if compute.all(compute.match_substring_regex(cells, _INTEGER)).as_py():
        whole = NumberFormat()
        return whole if proven(whole, cells) else None
    texts = cells.to_pylist()
    written = _common(texts)
    if written is None:
        return None
    first, bodies = written
    if any(re.match(r"0\d", body) for body in bodies):  # leading zeros mean something: a code
        return None
    candidates = [
        replace(first, **marks, **style)
        for marks in _marks(bodies, decimal_comma)
        for style in _styles([_normal(body, marks) for body in bodies])
    ]
    for candidate in candidates:
        if proven(candidate, cells):
            return candidate
    for candidate in candidates:
        if candidate.style in ("integer", "shortest", "point") and _keeps_values(candidate, cells, bodies):
            return candidate
    return None


def _common(texts: Sequence[str]) -> tuple[NumberFormat, list[str]] | None:
    """Return the affixes and signs that all cells share, and what stands between them; None: they share none."""
    bodies = []
    affixes, signs = None, set()
    for text in texts:
        text = text.strip(" \t")
        sign, unsigned = (text[0], text[1:]) if text[:1] in ("-", "+") else ("", text)
        if _PLAIN.fullmatch(unsigned):
            own = ("", "")
            body = unsigned
        else:
            match = _WRITTEN.fullmatch(text)
            if match is None or bool(match["open"]) != bool(match["close"]):
                return None
            own, body = (match["prefix"], match["suffix"]), match["body"]
            sign = match["before"] or match["inside"] or match["after"]
            place = "inside" if match["inside"] and match["prefix"] else "after" if match["after"] else ""
            signs.add("parentheses" if match["open"] else place)
        if affixes is not None and own != affixes:
            return None
        affixes = own
        signs.add(sign)
        bodies.append(body)
    prefix, suffix = affixes or ("", "")
    negative = next((place for place in ("parentheses", "inside", "after") if place in signs), "before")
    capital = any("E" in body for body in bodies)
    first = NumberFormat(prefix=prefix, suffix=suffix, negative=negative, plus="+" in signs, capital=capital)  # type: ignore[arg-type]
    return first, [body.lower() for body in bodies]


def _marks(bodies: Sequence[str], decimal_comma: bool) -> list[dict[str, Any]]:
    """Return which marks may be the decimal one and the one between thousands, the likelier first."""
    marks = {mark for body in bodies for mark in ".,'’ \u00a0\u202f" if mark in body}
    spaces = [mark for mark in marks if mark not in ".,"]
    if len(spaces) > 1:
        return []
    if spaces:
        return [{"thousands": spaces[0], "decimal": "," if "," in marks else "."}]
    point, comma = {"thousands": "", "decimal": "."}, {"thousands": "", "decimal": ","}
    if marks == {".", ","}:
        both = [{"thousands": ",", "decimal": "."}, {"thousands": ".", "decimal": ","}]
        body = next((body for body in bodies if "." in body and "," in body), "")
        return both if not body or body.rfind(".") > body.rfind(",") else both[::-1]
    if marks == {","}:
        grouped = all(re.fullmatch(r"[1-9]\d{0,2}(,\d{3})*|0", body) for body in bodies)
        groups = {"thousands": ",", "decimal": "."}
        return [groups, comma] if grouped and not decimal_comma else [comma, groups]
    return [point, {"thousands": ".", "decimal": ","}] if marks else [point]


def _normal(body: str, marks: dict[str, str]) -> str:
    """Return a number with a decimal point and no other mark."""
    body = body.replace(marks["thousands"], "") if marks["thousands"] else body
    return body.replace(marks["decimal"], ".")


def _styles(texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the styles in which unsigned numbers may be written, the strictest first."""
    if all(text.isdecimal() for text in texts):
        yield {"style": "integer"}
        return
    places = {len(text.partition("e")[0].partition(".")[2]) for text in texts}
    exponents = {"e" in text for text in texts}
    widths = [len(text.partition("e")[2].lstrip("+-")) for text in texts if "e" in text]
    digits = {"exponent_digits": min(widths, default=2)}
    if len(places) == 1 and exponents == {True}:
        yield {"style": "scientific", "digits": max(places), **digits}
    if exponents == {True, False}:
        yield from _general(texts, digits)
    if len(places) == 1 and exponents == {False}:
        yield {"style": "fixed", "digits": max(places)}
        yield {"style": "scaled", "digits": max(places)}
    pointed = sum("." in text for text in texts) == len(texts)
    yield {"style": "point" if pointed else "shortest", **digits}


def _general(texts: Sequence[str], digits: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Yield the style of numbers of which the smallest and the largest alone have an exponent."""
    plain, scientific = ([text for text in texts if ("e" in text) == has_exponent] for has_exponent in (False, True))
    places, mantissa_places = (
        {len(text.partition("e")[0].partition(".")[2]) for text in own} for own in (plain, scientific)
    )
    sizes, extremes = ([size for text in own if 0 < (size := float(text)) < math.inf] for own in (plain, scientific))
    if len(places) != 1 or len(mantissa_places) != 1 or not sizes or not extremes:
        return
    style: dict[str, Any] = {"style": "general", "digits": max(places), "mantissa_digits": max(mantissa_places)}
    if min(extremes) < min(sizes):
        style["least_plain"] = float(f"1e{math.floor(math.log10(min(sizes)))}")
    if max(extremes) > max(sizes):
        style["most_plain"] = float(f"1e{math.floor(math.log10(max(sizes))) + 1}")
    yield {**style, **digits}


def _keeps_values(candidate: NumberFormat, cells: Any, bodies: Sequence[str]) -> bool:
    """Return whether each value, though not each text, comes back, and none has more digits than float64 holds."""
    try:
        values = candidate.read_distinct(cells)
        for body, value in zip(bodies, values.to_pylist(), strict=True):
            long = len(re.sub(r"e.*|\D", "", body).strip("0")) > _EXACT_DIGITS
            # As C writes a double with %.17g; 1e400 would become infinite.
            if (long and f"{abs(value):.17g}" != body) or (math.isinf(value) and "inf" not in body):
                return False
        return bool(candidate.read_distinct(candidate.write_distinct(values)).equals(values))
    except ValueError:
        return False
