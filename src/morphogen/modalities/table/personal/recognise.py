"""Personal data recognised by what a column is called and by its values: patterns, checksums, lists of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .checksums import CHECKSUMS, plain
from .lists import match_names, without_title
from .words import form_of_name, is_called_attribute, is_called_person, is_called_thing

_MOST = 0.9  # share of the values that have to have a form
_SOME = 0.5  # the same where the column's name says it, too
_FEW = 10  # values, fewer of which pass a checksum or are first names by chance
_FULL, _FULL_CALLED = 0.3, 0.15  # share of the values that are a first and a last name
_FIRST, _LAST = 0.7, 0.8  # share of the values that are a first name, a last name
_BYTE = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
_PATTERNS = (
    ("email", re.compile(r"[^@\s]+@[^@\s]+\.[^\W\d]{2,}"), "values look like email addresses"),
    ("uuid", re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE), "values look like UUIDs"),
    ("ip", re.compile(rf"({_BYTE}\.){{3}}{_BYTE}"), "values look like IP addresses"),
    ("code", re.compile(r"([0-9A-F]{2}[:-]){5}[0-9A-F]{2}", re.IGNORECASE), "values look like MAC addresses"),
    ("national id", re.compile(r"\d{3}-\d{2}-\d{4}"), "values look like social security numbers"),
)
_PHONE = re.compile(r"(?=(?:\D*\d){7})(?!(?:\D*\d){16})[+(]?[\d\s()./-]{7,22}( ?(x|ext\.?) ?\d+)?")
_DATE = re.compile(r"(\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{2,4})([ T]\d{1,2}:\d{2}.*)?")
_STREET = re.compile(
    r"\d+\w?,? .*\b(street|st|avenue|ave|road|rd|lane|ln|drive|dr|blvd|boulevard|way|court|ct|place|square|terrace|"
    r"suite|apt|rue|chemin|impasse|allée|quai|route|cours)\b.*"
    r"|.*(stra(ß|ss)e|str\.|weg|platz|allee|gasse|ring|damm|ufer|straat|laan|plein|gracht|dreef|pad|steeg|hof|dijk|kade|singel|boulevard|gata|gatan|vej|gade)\s*"
    r"\d+.*"
    r"|(via|viale|piazza|corso|strada|vicolo|calle|avenida|avda\.?|paseo|plaza|camino|ronda|pasaje|c/|rua|av\.?|"
    r"travessa|largo|praça|estrada|alameda|rue|avenue|ул\.?|улица|пр\.?|проспект|пер\.?|οδός)\s.*\d.*"
    r"|.*\b(sokak|sok\.?|sk\.?|caddesi|cad\.?|mahallesi|mah\.?|bulvarı)\b.*\d.*"
    r"|.*\d+\s?(号|番地|丁目|번지).*",
    re.IGNORECASE,
)


class Recognised(NamedTuple):
    """What personal data a column holds, and why."""

    form: str
    reason: str


def recognise(
    name: str, values: Sequence[str], *, are_numbers: bool = False, repeated: bool = False
) -> Recognised | None:
    """Return the form of personal data that the different values of a column have; None where they have none.

    Values that are `repeated` are no names by the column's name alone: a `name` may be one of a shop.
    """
    if not values:
        return None
    called = "" if is_called_attribute(name) else form_of_name(name)
    for form, pattern, reason in _PATTERNS:
        share = _share(values, lambda value, pattern=pattern: bool(pattern.fullmatch(value.strip())))
        if share >= _MOST or (share >= _SOME and called == form):
            return Recognised(form, reason)
    checked = _checked(values, certain=called in ("national id", "iban", "credit card"))
    if checked is not None:
        return checked
    if called and _fits(called, values):
        return Recognised(called, f"called '{name}'")
    if are_numbers:
        return None
    if _share(values, _is_phone) >= _MOST and _share(values, lambda value: not value.strip().isdigit()) >= _FULL:
        return Recognised("phone", "values look like phone numbers")
    if _share(values, lambda value: bool(_STREET.fullmatch(value.strip()))) >= _SOME:
        return Recognised("address", "values look like addresses")
    return _names(name, values, repeated=repeated)


def _names(name: str, values: Sequence[str], *, repeated: bool) -> Recognised | None:
    """Return whether the values are names of persons, by lists of names, or by the column's name and their form."""
    person, match = is_called_person(name), match_names(values)
    language = f"in the lists of {match.locale}"
    if match.full >= (_FULL_CALLED if person else _FULL) and (person or len(values) >= 3):
        return Recognised("name", f"{match.full:.0%} of the values are a first and a last name {language}")
    if is_called_thing(name):
        return None
    if match.first >= (_SOME if person else _FIRST) and len(values) >= _FEW:
        return Recognised("first name", f"{match.first:.0%} of the values are first names {language}")
    if match.last >= (_SOME if person else _LAST) and len(values) >= 2 * _FEW:
        return Recognised("last name", f"{match.last:.0%} of the values are last names {language}")
    if person and not repeated and len(values) >= 2 * _FEW and _share(values, _may_be_name) >= _MOST:
        return Recognised("name", f"called '{name}', and values of one to four words without digits")
    return None


def _checked(values: Sequence[str], *, certain: bool) -> Recognised | None:
    if len(values) < (3 if certain else _FEW):
        return None
    texts = [plain(value) for value in values]
    for one in CHECKSUMS:
        if _share(texts, one.is_valid) >= (_SOME if certain else _MOST):
            return Recognised(one.form, f"values are {one.words}")
    return None


def _fits(form: str, values: Sequence[str]) -> bool:
    """Return whether half of the values may be what the column's name says."""
    test = {
        "email": lambda value: "@" in value,
        "phone": lambda value: sum(map(str.isdigit, value)) >= 6,
        "address": lambda value: any(map(str.isalpha, value)) and len(value.split()) > 1,
        "national id": lambda value: sum(map(str.isdigit, value)) >= 4 and len(value) >= 5,
        "iban": lambda value: sum(map(str.isdigit, value)) >= 8,
        "credit card": lambda value: sum(map(str.isdigit, value)) >= 8,
        "username": lambda value: len(value.split()) == 1 and any(map(str.isalpha, value)),
    }.get(form, _may_be_name)
    return _share(values, test) >= _SOME


def _is_phone(value: str) -> bool:
    value = value.strip()
    written = value.startswith(("+", "(", "0")) or sum(not one.isdigit() for one in value) >= 2
    return written and bool(_PHONE.fullmatch(value)) and not _DATE.fullmatch(value)


def _may_be_name(value: str) -> bool:
    words = without_title(value).split()
    return 1 <= len(words) <= 4 and not any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _share(values: Sequence[str], test: object) -> float:
    assert callable(test)
    return sum(bool(test(value)) for value in values) / len(values)
