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
    """How keys are made: `places`, and where `first` is not None, a number from there on of at least `width` digits.

    Without such a number, the places are counted through in a shuffled order, without the `excluded` keys. Of the
    places, the last `behind` stand behind the number, or behind the digits that are added where the places run out.
    """

    places: Places
    first: int | None = None
    width: int = 0
    excluded: Exclusion = NOTHING
    behind: int = 0

    def make(self, seed: int) -> str:
        """Return the key of a sample's seed; keys of different seeds differ."""
        if self.first is not None:
            return self._with(self._written(seed, self.places), str(self.first + seed).zfill(self.width))
        room = max(1, math.prod(map(len, self.places)) // _TRIES)
        rounds, number = divmod(seed, room)
        more = str(rounds) if rounds else ""
        for attempt in range(_TRIES):
            key = self._with(self._written(self._shuffled(number * _TRIES + attempt), self.places), more)
            if key not in self.excluded:
                break
        return key

    def _with(self, written: str, digits: str) -> str:
        """Return what is written at all places, with digits before those that stand behind."""
        at = len(written) - self.behind
        return written[:at] + digits + written[at:]

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
            "behind": self.behind,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> KeyForm:
        return cls(
            tuple(state["places"]),
            state["first"],
            state["width"],
            Exclusion.from_state(state["excluded"]),
            state.get("behind", 0),  # which older models lack
        )


def beyond(low: int, high: int) -> int:
    """Return a round number, of two digits and zeros, more than a tenth of the range beyond its end."""
    end = high + 1 + max(1, high - low) // 10
    unit = 10 ** max(0, len(str(abs(end))) - 2)
    return -(-end // unit) * unit


def find_form(keys: Sequence[str], rare: int, *, whole: bool = False) -> KeyForm:
    """Return the form of new keys like these, all of them different, which they are not among; `whole` are numbers.

    Where the form has room they have the same one, and the old ones are excluded; where keys end in digits, which
    count, the new ones count on beyond; all others are made longer. They end as all old ones do, and have as many
    decimals.
    """
    if whole and (any(key.startswith("-") for key in keys) or _contiguous(keys)):
        numbers = list(map(int, keys))
        return KeyForm((), beyond(min(numbers), max(numbers)))
    places = _common_places(keys, rare)
    if whole and places and places[0] == _DIGITS:
        places = (_DIGITS[1:], *places[1:])
    behind = _behind(keys, places)
    needed = max(_LEAST_ROOM, _ROOM_PER_ROW * len(keys)) * _TRIES
    if math.prod(map(len, places)) >= needed:
        return KeyForm(places, excluded=Exclusion.of(keys), behind=behind)
    front, back = places[: len(places) - behind], places[len(places) - behind :]
    heads = [key[: len(key) - behind] for key in keys]
    numbers = [int(match[0]) for head in heads if (match := re.search(r"\d+$", head)) and match[0].isascii()]
    width = 0
    while width < len(front) and (front[-1 - width] == _DIGITS or front[-1 - width] in tuple(_DIGITS)):
        width += 1
    if width and numbers and any(place == _DIGITS for place in front[len(front) - width :]):
        places = front[: len(front) - width] + back
        return KeyForm(places, beyond(min(numbers), max(numbers)), width, behind=behind)
    longest = max(map(len, heads))
    more = next((place for place in reversed(front) if len(place) > 1), _DIGITS)
    while len(front) <= longest or math.prod(map(len, front + back)) < needed:
        front = (*front, more)
    return KeyForm(front + back, behind=behind)


def _behind(keys: Sequence[str], places: Places) -> int:
    """Return how many of the last places stay as they are where keys grow: those that all keys share, and decimals."""
    forms = {(match[1], len(match[2])) if (match := re.fullmatch(r"\d+([.,])(\d+)", key)) else None for key in keys}
    if len(forms) == 1 and (form := forms.pop()) is not None:
        return form[1] + 1
    count = 0
    while count < len(places) and len(places[-1 - count]) == 1:
        count += 1
    ending = "".join(places[len(places) - count :])
    return count if count < len(places) and all(key.endswith(ending) for key in keys) else 0


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
