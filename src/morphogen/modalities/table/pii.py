"""Keys and personal data: never modelled, but generated anew in the form that they had."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import needs_extra

_DIGITS, _LOWER, _UPPER = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HEX = "0123456789abcdef"
# Version 4 of RFC 9562: all random but the version and two bits.
_UUID = [_HEX] * 8 + ["-"] + [_HEX] * 4 + ["-", "4"] + [_HEX] * 3 + ["-", "89ab"] + [_HEX] * 3 + ["-"] + [_HEX] * 12
_FAKES: dict[str, Callable[[Any], str]] = {
    "email": lambda faker: faker.safe_email(),
    "phone": lambda faker: faker.phone_number(),
    "ip": lambda faker: faker.ipv4(),
    "iban": lambda faker: faker.iban(),
    "ssn": lambda faker: faker.ssn(),
    "name": lambda faker: faker.name(),
}


def pattern_of(values: Sequence[str]) -> list[str]:
    """Return the characters to choose among at each place, from the values of the most frequent length.

    A character that all values share at a place stays; any other digit, small or capital letter stands for its kind.
    """
    lengths, counts = np.unique([len(value) for value in values], return_counts=True)
    length = int(lengths[counts.argmax()])
    places = []
    for column in zip(*(value for value in values if len(value) == length), strict=True):
        characters = set(column)
        if len(characters) == 1:
            places.append(column[0])
            continue
        kinds = [kind for kind in (_DIGITS, _LOWER, _UPPER) if characters & set(kind)]
        places.append("".join([*kinds, *sorted(characters - set(_DIGITS + _LOWER + _UPPER))]))
    return places


def fill_pattern(places: Sequence[str], words: NDArray[np.uint64]) -> list[str]:
    """Return one value for each of the random 64-bit words."""
    if not places:
        return [""] * len(words)
    characters = np.empty((len(words), len(places)), dtype="<U1")
    state = words.copy()
    for number, place in enumerate(places):
        if len(place) > 1:  # the linear congruential generator of Knuth's MMIX, modulo 2^64
            state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
            characters[:, number] = np.array(list(place))[(state >> np.uint64(33)) % np.uint64(len(place))]
        else:
            characters[:, number] = place
    return list(characters.view(f"<U{len(places)}").ravel().tolist())


def make_uuid(words: NDArray[np.uint64]) -> list[str]:
    """Return a random UUID for each of the random 64-bit words."""
    return fill_pattern(_UUID, words)


def number_keys(first: int, seeds: NDArray[np.int64], largest: int) -> NDArray[np.int64]:
    """Return `first + seed` for each sample, within `[first, largest]`: keys of other seeds are other keys."""
    span = min(largest - first + 1, 2**63 - 1)
    return np.int64(first) + np.mod(seeds, np.int64(span))


def fake(form: str, words: NDArray[np.uint64]) -> list[str]:
    """Return made-up personal data, one value for each of the random 64-bit words. Raises UserError without faker."""
    faker, values = _faker(), []
    for word in words.tolist():
        faker.seed_instance(word)
        values.append(re.sub(r"\s+", " ", _FAKES[form](faker)))
    return values


@cache
def _faker() -> Any:
    try:
        from faker import Faker
    except ImportError:
        raise needs_extra("faker", "table", "generating personal data") from None
    return Faker()
