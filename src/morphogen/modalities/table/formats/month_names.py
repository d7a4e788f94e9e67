"""Names of months by language, as the C library writes them: full, and short."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

Case = Literal["", "lower", "upper", "title"]  # "": as the language writes them

_CASES: tuple[Case, ...] = ("", "lower", "upper", "title")
_FULL_AND_SHORT = {
    "en": (
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    ),
    "de": (
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    ),
    "fr": (
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "janv. févr. mars avril mai juin juil. août sept. oct. nov. déc.",
    ),
    "es": (
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "ene feb mar abr may jun jul ago sep oct nov dic",
    ),
    "it": (
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "gen feb mar apr mag giu lug ago set ott nov dic",
    ),
    "pt": (
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "jan fev mar abr mai jun jul ago set out nov dez",
    ),
    "nl": (
        "januari februari maart april mei juni juli augustus september oktober november december",
        "jan feb mrt apr mei jun jul aug sep okt nov dec",
    ),
}


def month_names(language: str, letter: str, case: Case) -> tuple[str, ...]:
    """Return the twelve names of a language: full ones for the letter `B` of a pattern, short ones for `b`.

    Raises ValueError on an unknown language or case.
    """
    if language not in _FULL_AND_SHORT or case not in _CASES:
        raise ValueError(f"months have no names in language {language!r} and case {case!r}")
    names = _FULL_AND_SHORT[language][letter == "b"]
    return tuple((getattr(names, case)() if case else names).split())


def naming(name: str) -> Iterator[tuple[str, str, Case]]:
    """Yield each letter (`B` or `b`), language and case in which a word is the name of a month."""
    for language in _FULL_AND_SHORT:
        for letter in "Bb":
            case = next((case for case in _CASES if name in month_names(language, letter, case)), None)
            if case is not None:
                yield letter, language, case
