"""The form of numbers and codes: which characters stand at which place, told by enough rows or by none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from .mixing import mix

Places = tuple[str, ...]  # the characters to choose among at each place

_CLASSES = (
    "0123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "абвгдежзиклмнопрстуфхцчшщэюя",
    "АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЭЮЯ",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "0123456789".translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
)
_OTHER_LETTERS = {  # by the first characters of their names in Unicode's blocks
    range(0x3041, 0x30FF): "アイウエオカキクケコサシスセソタチツテトナニヌネノ",
    range(0x4E00, 0xA000): "安北成大东方福高光国海河红华江金开利林明南平清山上天文西新中",
    range(0xAC00, 0xD7A4): "가나다라마바사아자차카타파하",
}
_MOST_SHAPES = 200


def alphabet_of(character: str) -> str:
    """Return the characters that may stand for one: digits, letters of its script and case; else itself."""
    for characters in _CLASSES:
        if character in characters:
            return characters
    for block, characters in _OTHER_LETTERS.items():
        if ord(character) in block:
            return characters
    if character.isalpha():
        return _CLASSES[2 if character.isupper() else 1]
    return character if character.isascii() or character.isspace() else "-"


def shape_of(value: str) -> Places:
    """Return the alphabet of each character of a value."""
    return tuple(alphabet_of(character) for character in value)


def find_shapes(values: Sequence[str], rare: int, *, prefix: int) -> tuple[tuple[Places, ...], tuple[int, ...]]:
    """Return the shapes of values and how many rows have each.

    The first characters stay, at most `prefix`, where at least `rare` rows begin with them; so does any character that
    all values of a shape share. Where no shape is that frequent, the most frequent one is returned without either.
    """
    shapes = [shape_of(value) for value in values]
    counts = Counter(
        (shape, value[:length])
        for shape, value in zip(shapes, values, strict=True)
        for length in range(prefix + 1)
        if length <= len(value)
    )
    groups: defaultdict[tuple[Places, str], list[str]] = defaultdict(list)
    for shape, value in zip(shapes, values, strict=True):
        for length in range(min(prefix, len(value)), -1, -1):
            if counts[shape, value[:length]] >= rare:
                groups[shape, value[:length]].append(value)
                break
    groups = defaultdict(list, {key: own for key, own in groups.items() if len(own) >= rare})
    if not groups:
        (shape, _), count = counts.most_common(1)[0]
        return (shape,), (count,)
    frequent = sorted(groups.items(), key=lambda one: (-len(one[1]), one[0]))[:_MOST_SHAPES]
    return tuple(_shared(shape, own) for (shape, _), own in frequent), tuple(len(own) for _, own in frequent)


def _shared(shape: Places, values: Sequence[str]) -> Places:
    """Return the shape with each character that all values share in its place."""
    return tuple(
        column[0] if len(set(column)) == 1 else alphabet
        for alphabet, column in zip(shape, zip(*values, strict=True), strict=True)
    )


def fill(places: Places, word: int) -> str:
    """Return a value of a shape, by a random word."""
    return "".join(place if len(place) == 1 else place[mix(word, at) % len(place)] for at, place in enumerate(places))
