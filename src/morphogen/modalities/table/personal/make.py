"""Keys and personal data made anew: all that is about one person of a row agrees, and no real value comes back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import product
from typing import Any

from numpy.typing import NDArray

from morphogen.core.errors import needs_extra

from .checksums import CHECKSUMS, Checksum
from .lists import Names, pools
from .mixing import mix, pick, share
from .recipe import KEYS, NAMES, Recipe
from .shapes import fill

_HEX = "0123456789abcdef"
# Version 4 of RFC 9562: all random but the version and two bits.
_UUID = (*[_HEX] * 8, "-", *[_HEX] * 4, "-", "4", *[_HEX] * 3, "-", "89ab", *[_HEX] * 3, "-", *[_HEX] * 12)
_DOMAINS = ("example.com", "example.org", "example.net")  # RFC 2606: nobody's
_TRIES = 50  # values, after which longer ones are made: last names by joining two of them
_LEAST_NAMES = 100
_MISSING, _STYLE = 101, 102  # numbers of words


def make_columns(
    recipes: Mapping[str, Recipe], words: Mapping[str, NDArray[Any]], seeds: Sequence[int]
) -> dict[str, list[str | None]]:
    """Return a value for each row of each column; None where it is missing.

    Every value follows from the row's own words and seed. Raises UserError where Faker is not installed.
    """
    made: dict[str, list[str | None]] = {}
    persons: dict[str, list[str]] = {}
    for name, recipe in recipes.items():
        if recipe.form in NAMES:
            persons.setdefault(recipe.person, []).append(name)
        else:
            own = words[name].tolist()
            made[name] = [_value(recipe, word, seed) for word, seed in zip(own, seeds, strict=True)]
    for names in persons.values():
        own_recipes = {name: recipes[name] for name in names}
        free = _free_names(tuple(own_recipes.values()))
        rows = [_person(own_recipes, free, word) for word in words[names[0]].tolist()]
        made |= {name: [row[name] for row in rows] for name in names}
    for name, recipe in recipes.items():
        if recipe.missing:
            there = [share(mix(word, _MISSING)) >= recipe.missing for word in words[name].tolist()]
            made[name] = [value if one else None for value, one in zip(made[name], there, strict=True)]
    return {name: made[name] for name in recipes}


def make_different(recipe: Recipe, count: int) -> list[str]:
    """Return that many different values of one column."""
    values: dict[str, None] = {}
    free = _free_names((recipe,)) if recipe.form in NAMES else None
    word = -1
    while len(values) < count:
        word += 1
        own = mix(word, len(recipe.person))
        value = _person({"": recipe}, free, own)[""] if free is not None else _value(recipe, own, word)
        values.setdefault(value)
    return list(values)


def _value(recipe: Recipe, word: int, seed: int) -> str:
    """Return a value that is not about a name."""
    if recipe.form in KEYS:
        assert recipe.key is not None
        return recipe.key.make(seed + recipe.pseudonyms)
    if recipe.form == "uuid":
        return fill(_UUID, word)
    make = _MAKERS.get(recipe.form, _shaped)
    number, value = 0, make(recipe, word)
    while value in recipe.excluded:
        number += 1
        value = make(recipe, mix(word, number))
        if number > _TRIES:  # a form with so little room that all of it is excluded
            value += str(mix(word, number) % 10 ** (1 + number // _TRIES))
    return value


def _shaped(recipe: Recipe, word: int) -> str:
    """Return digits and letters in one of the column's shapes, which pass its checksum where it has one."""
    rule = next((one for one in CHECKSUMS if one.words == recipe.checksum), None)
    places = pick(recipe.styles, recipe.weights, mix(word, _STYLE))
    for attempt in range(_TRIES if rule else 1):
        value = fill(places, mix(word, attempt))
        valid = _valid(value, rule) if rule else value
        if valid:
            return valid
    return value


def _valid(value: str, checksum: Checksum) -> str:
    """Return the value with the characters that its checksum determines; empty where none of them fits."""
    at = [place for place, character in enumerate(value) if character.isalnum()]
    text = [value[place].upper() for place in at]
    choices = ["0123456789" if text[place].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for place in checksum.places]
    for characters in [checksum.digits("".join(text))] if checksum.digits else product(*choices):
        for place, character in zip(checksum.places, characters, strict=True):
            text[place] = character
        if checksum.is_valid("".join(text)):
            changed = list(value)
            for place, character in zip(checksum.places, characters, strict=True):
                own = at[place]
                changed[own] = character.lower() if changed[own].islower() else character
            return "".join(changed)
    return ""


def _address(recipe: Recipe, word: int) -> str:
    faker = _faker(recipe.locale)
    faker.seed_instance(word)
    address = faker.address() if recipe.styles == ("long",) else faker.street_address()
    return re.sub(r"\s*\n\s*", ", ", str(address))


def _text(recipe: Recipe, word: int) -> str:
    faker = _faker(recipe.locale)
    faker.seed_instance(word)
    return str(faker.sentence(nb_words=max(1, recipe.length)))


def _ip(recipe: Recipe, word: int) -> str:
    return ".".join(str(1 + mix(word, place) % 254) for place in range(4))


_MAKERS: dict[str, Callable[[Recipe, int], str]] = {"address": _address, "free text": _text, "ip": _ip}


def _person(recipes: Mapping[str, Recipe], names: Names, word: int) -> dict[str, str]:
    """Return the values of one person that columns hold, none of which is excluded."""
    number = 0
    while True:
        own = mix(word, number)
        first, last = (part[mix(own, at) % len(part)] for at, part in enumerate(names))
        if number >= _TRIES:
            last = f"{last}-{names.last[mix(own, 2) % len(names.last)]}"
        values = {name: _written(recipe, first, last, own) for name, recipe in recipes.items()}
        if not any(values[name] in recipe.excluded for name, recipe in recipes.items()):
            return values
        number += 1


@lru_cache(maxsize=64)
def _free_names(recipes: tuple[Recipe, ...]) -> Names:
    """Return first and last names of a language that no column excludes.

    Where too few are left, names of the same language elsewhere, then others of the same script, join them.
    """
    locale = recipes[0].locale
    free = []
    for part, form in enumerate(("first name", "last name")):
        own = [recipe for recipe in recipes if recipe.form == form]
        allowed: dict[str, None] = {}
        for names in pools(locale):
            allowed |= {
                one: None
                for one in names[part]
                if not any(_written(recipe, one, one, 0) in recipe.excluded for recipe in own)
            }
            if len(allowed) >= _LEAST_NAMES:
                break
        if not allowed:
            raise needs_extra("faker", "table", "generating personal data")
        free.append(tuple(allowed))
    return Names(*free)


def _written(recipe: Recipe, first: str, last: str, word: int) -> str:
    if recipe.form == "email":
        return f"{_latin(first)}.{_latin(last)}{mix(word, 4) % 100}@{_DOMAINS[mix(word, 5) % len(_DOMAINS)]}"
    if recipe.form == "username":
        return f"{_latin(first)[:1]}{_latin(last)}{mix(word, 4) % 1000}"
    style, case = pick(recipe.styles, recipe.weights, mix(word, _STYLE)).rsplit("|", 1)
    if recipe.form == "first name":
        value = first
    elif recipe.form == "last name":
        value = last
    else:
        value = style.replace("{first}", first).replace("{last}", last)
    return value.upper() if case == "upper" else value.lower() if case == "lower" else value


@cache
def _latin(name: str) -> str:
    """Return the small Latin letters of a name; of another script as many others."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss").replace("ı", "i"))
    letters = "".join(one for one in plain.casefold() if one.isascii() and one.isalpha())
    return letters or fill((_HEX[10:] + "lmnorstuv",) * 6, sum(map(ord, name)))


@cache
def _faker(locale: str) -> Any:
    try:
        from faker import Faker
    except ImportError:
        raise needs_extra("faker", "table", "generating personal data") from None
    return Faker(locale)
