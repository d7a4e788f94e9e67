"""Keys and personal data, never modelled: made anew, each in the form that it had."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import needs_extra

_DIGITS, _LOWER, _UPPER = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HEX = "0123456789abcdef"
_FAKED: dict[str, Callable[[Any], str]] = {
    "email": lambda faker: faker.safe_email(),
    "phone": lambda faker: faker.phone_number(),
    "ip": lambda faker: faker.ipv4(),
    "iban": lambda faker: faker.iban(),
    "ssn": lambda faker: faker.ssn(),
    "name": lambda faker: faker.name(),
}


def pattern_of(values: Sequence[str]) -> list[str]:
    """The characters to choose among at each place, of values of the most frequent length: a set for each place.

    A place where all are alike stays so; else any digit, small or capital letter stands for its kind.
    """
    lengths, often = np.unique([len(value) for value in values], return_counts=True)
    length = int(lengths[often.argmax()])
    alike = [value for value in values if len(value) == length]
    places = []
    for column in zip(*alike, strict=True):
        seen = set(column)
        if len(seen) == 1:
            places.append(column[0])
            continue
        kinds = [kind for kind in (_DIGITS, _LOWER, _UPPER) if seen & set(kind)]
        others = sorted(seen - set(_DIGITS + _LOWER + _UPPER))
        places.append("".join([*kinds, *others]))
    return places


def fill_pattern(places: Sequence[str], words: NDArray[np.uint64]) -> list[str]:
    """One value for each of the random 64-bit words."""
    found = []
    for word in words.tolist():
        value = []
        state = word
        for place in places:
            if len(place) == 1:
                value.append(place)
                continue
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            value.append(place[(state >> 33) % len(place)])
        found.append("".join(value))
    return found


def make_uuid(words: NDArray[np.uint64]) -> list[str]:
    """Random ones (version 4) of 64-bit words."""
    places = (
        [_HEX] * 8 + ["-"] + [_HEX] * 4 + ["-", "4"] + [_HEX] * 3 + ["-", "89ab"] + [_HEX] * 3 + ["-"] + [_HEX] * 12
    )
    return fill_pattern(places, words)


def fake(form: str, words: NDArray[np.uint64]) -> list[str]:
    """Personal data of nobody, one for each of the random 64-bit words. Raises UserError without faker."""
    try:
        from faker import Faker
    except ImportError:
        raise needs_extra("faker", "table", "making personal data anew") from None
    faker = Faker()
    found = []
    for word in words.tolist():
        faker.seed_instance(word)
        found.append(re.sub(r"\s+", " ", _FAKED[form](faker)))
    return found
