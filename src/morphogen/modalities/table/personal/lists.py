"""Names of persons by language, from Faker's own lists; nothing is downloaded."""

from __future__ import annotations

import importlib
import pkgutil
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import permutations
from typing import Any, NamedTuple

_TITLE = re.compile(
    r"^((dr|prof|mr|mrs|ms|miss|mx|herr|frau|hr|fr|dipl|ing|med|m|mme|mlle|sr|sra|srta|dott|dottssa|ssa|sig|sigra|"
    r"dra|dhr|mevr|drs|sn|dra|доктор|др|г|г-н|г-жа|κ|δρ|د)\.?(-ing\.)?\s+)+",
    re.IGNORECASE,
)
_UNLISTED = ("es", "de_LI", "de_LU", "en", "tw_GH", "ar_PS", "ar_SA", "ar_DZ", "en_KE", "ne_NP")  # subsets or mixtures
_EXAMINED = 200  # values that are looked up
_PREFERRED = ("en_US", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "nl_NL", "tr_TR")  # where two are as likely


class Names(NamedTuple):
    """First and last names of one language, as they are written."""

    first: tuple[str, ...]
    last: tuple[str, ...]


class Match(NamedTuple):
    """How well values fit the names of a language, as shares of the values."""

    locale: str
    full: float
    first: float
    last: float


@cache
def names_by_locale() -> dict[str, Names]:
    """Return the lists of names by locale; none where Faker is not installed."""
    try:
        from faker.providers import person
    except ImportError:
        return {}
    lists = {}
    for module in pkgutil.iter_modules(person.__path__):
        if module.name in _UNLISTED:
            continue
        provider = importlib.import_module(f"faker.providers.person.{module.name}").Provider
        first, last = (
            tuple(sorted({str(one) for key in keys for one in _listed(provider, key)}))
            for keys in (
                ("first_names", "first_names_female", "first_names_male"),
                ("last_names", "last_names_female", "last_names_male"),
            )
        )
        if min(len(first), len(last)) >= 20:
            lists[module.name] = Names(first, last)
    return lists


def _listed(provider: Any, key: str) -> Iterable[str]:
    names = getattr(provider, key, ())
    return names if isinstance(names, (tuple, list, dict)) else ()  # some are properties of an instance


@cache
def _folded(locale: str) -> tuple[frozenset[str], frozenset[str]]:
    names = names_by_locale()[locale]
    first, last = (frozenset(one.casefold() for one in own) for own in (names.first, names.last))
    return first, last


def without_title(value: str) -> str:
    """Return a name without `Dr.`, `Frau` and the like before it."""
    return _TITLE.sub("", value.strip())


def match_names(values: Sequence[str]) -> Match:
    """Return the language whose lists hold most of the values: as first and last name, or as one of the two."""
    some = values[:: max(1, len(values) // _EXAMINED)]
    tokens = [_tokens(value) for value in some]
    best = Match("", 0.0, 0.0, 0.0)
    if not tokens:
        return best
    locales = names_by_locale()
    for locale in sorted(locales, key=lambda one: one not in _PREFERRED):
        first, last = _folded(locale)
        counts: Counter[str] = Counter()
        for own in tokens:
            if len(own) == 1:
                counts["first"] += own[0] in first
                counts["last"] += own[0] in last
            counts["full"] += _is_full(own, first, last)
        shares = [counts[key] / len(tokens) for key in ("full", "first", "last")]
        if max(shares) > max(best[1:]) + 1e-9:
            best = Match(locale, *shares)
    return best


def _tokens(value: str) -> list[str]:
    return [one for one in re.split(r"[\s,·・]+", without_title(value).casefold()) if one]


def _is_full(tokens: Sequence[str], first: frozenset[str], last: frozenset[str]) -> bool:
    """Return whether tokens are a first and a last name in either order, or both written as one, as in Chinese."""
    if len(tokens) == 1:
        (word,) = tokens
        if not word or ord(word[0]) < 0x2E80 or not 2 <= len(word) <= 6:
            return False
        return any(word[:at] in last and word[at:] in first for at in (1, 2, 3))
    if len(tokens) > 4:
        return False
    parts = [{one, *one.split("-")} for one in tokens]
    return any(a & first and b & last for a, b in permutations(parts, 2))


@cache
def pools(locale: str) -> tuple[Names, ...]:
    """Return the names of a language, then those of the same one elsewhere, then all others of the same script."""
    lists = names_by_locale()
    own = locale if locale in lists else next((one for one in lists if one[:2] == locale[:2]), "en_US")
    if own not in lists:
        return ()
    near = [one for one in lists if one[:2] == own[:2] and one != own]
    far = [one for one in lists if one[:2] != own[:2] and _script(lists[one]) == _script(lists[own])]
    return tuple(lists[one] for one in (own, *near, *far))


def _script(names: Names) -> str:
    """Return the script of a list's first name, as Unicode calls it: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(names.first[0][0], "").split(" ")[0].split("-")[0]
