"""New keys: none that a training row has, and as long as there is room a different one for each seed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .exclusion import NOTHING, Exclusion
from .shapes import Places, alphabet_of

_TRIES = 64  # keys of which one is not excluded: all of them are with probability 2^-64
_LEAST_ROOM = 10_000  # keys that a form has to have room for, or longer ones are made
_ROOM_PER_ROW = 10
_CONTIGUOUS = 1.25  # numbers in the range of a key that counts, per row; a tenth of the rows may be held out
_DIGITS = "0123456789"


@dataclass(frozen=True)
class KeyForm:
    """How keys are made: `places`, then, where `first` is not None, a number from there on of at least `width` digits.

    Without such a number, the places are counted through in a shuffled order, without the `excluded` keys.
    """

    places: Places
    first: int | None = None
    width: int = 0
    excluded: Exclusion = NOTHING

    def make(self, seed: int) -> str:
        """Return the key of a sample's seed; keys of different seeds differ."""
        if self.first is not None:
            return self._written(seed, self.places) + str(self.first + seed).zfill(self.width)
        room = max(1, math.prod(map(len, self.places)) // _TRIES)
        rounds, number = divmod(seed, room)
        suffix = self._written(rounds, (_DIGITS,) * len(str(rounds))) if rounds else ""
        for attempt in range(_TRIES):
            key = self._written(self._shuffled(number * _TRIES + attempt), self.places) + suffix
            if key not in self.excluded:
                break
        return key

    def _shuffled(self, number: int) -> int:
        """Return a one-to-one function of numbers below the count of all keys."""
        count = math.prod(map(len, self.places))
        factor = int(count * 0.6180339887498949) | 1
        while math.gcd(factor, count) > 1:
            factor += 2
        return (number * factor + int(count * 0.7071067811865476)) % count

    @staticmethod
    def _written(number: int, places: Places) -> str:
        characters = []
        for place in reversed(places):
            number, at = divmod(number, len(place))
            characters.append(place[at])
        return "".join(reversed(characters))

    def state(self) -> dict[str, Any]:
        """Return plain JSON, which `from_state` reads."""
        return {
            "places": list(self.places),
            "first": self.first,
            "width": self.width,
            "excluded": self.excluded.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> KeyForm:
        return cls(tuple(state["places"]), state["first"], state["width"], Exclusion.from_state(state["excluded"]))


def beyond(low: int, high: int) -> int:
    """Return a round number, of two digits and zeros, more than a tenth of the range beyond its end."""
    end = high + 1 + max(1, high - low) // 10
    unit = 10 ** max(0, len(str(abs(end))) - 2)
    return -(-end // unit) * unit


def find_form(keys: Sequence[str], rare: int, *, whole: bool = False) -> KeyForm:
    """Return the form of new keys like these, all of them different, which they are not among; `whole` are numbers.

    Where the form has room they have the same one, and the old ones are excluded; where keys end in digits, which
    count, the new ones count on beyond; all others are made longer.
    """
    if whole and (any(key.startswith("-") for key in keys) or _contiguous(keys)):
        numbers = list(map(int, keys))
        return KeyForm((), beyond(min(numbers), max(numbers)))
    places = _common_places(keys, rare)
    if whole and places and places[0] == _DIGITS:
        places = (_DIGITS[1:], *places[1:])
    needed = max(_LEAST_ROOM, _ROOM_PER_ROW * len(keys)) * _TRIES
    if math.prod(map(len, places)) >= needed:
        return KeyForm(places, excluded=Exclusion.of(keys))
    numbers = [int(match[0]) for key in keys if (match := re.search(r"\d+$", key)) and match[0].isascii()]
    width = 0
    while width < len(places) and (places[-1 - width] == _DIGITS or places[-1 - width] in tuple(_DIGITS)):
        width += 1
    if width and numbers and any(place == _DIGITS for place in places[len(places) - width :]):
        return KeyForm(places[: len(places) - width], beyond(min(numbers), max(numbers)), width)
    longest = max(map(len, keys))
    more = next((place for place in reversed(places) if len(place) > 1), _DIGITS)
    while len(places) <= longest or math.prod(map(len, places)) < needed:
        places = (*places, more)
    return KeyForm(places)


def _contiguous(keys: Sequence[str]) -> bool:
    numbers = list(map(int, keys))
    return max(numbers) - min(numbers) < _CONTIGUOUS * len(numbers)


def _common_places(keys: Sequence[str], rare: int) -> Places:
    """Return what stands at each place of the keys of the most frequent length, whichever of them has it."""
    length = Counter(map(len, keys)).most_common(1)[0][0]
    alike = [key for key in keys if len(key) == length]
    places = []
    for characters in map(set, zip(*alike, strict=True)):
        if len(characters) == 1 and len(alike) >= rare:
            places.append(characters.pop())
        else:
            places.append("".join(sorted({alphabet_of(character) for character in characters})))
    letters = {character for key in alike for character in key if character.isalpha()}
    if letters <= set("abcdefABCDEF"):
        places = [re.sub(r"(?<=[Ff])[G-Zg-z]+", "", place) for place in places]
    return tuple(places)
