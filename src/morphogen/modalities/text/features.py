"""What a judge sees of texts: their words, properties that a person understands, and features that need no training."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, chain, pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor

Numbers = NDArray[np.uint64]
Counts = NDArray[np.int64]
Text = tuple[int, str]  # which text, and it or a piece of it

_BITS = 8  # of a gram's hash, that say to which feature it adds; the next one is the sign
_WIDTH = 1 << _BITS
# Of grams of 1, 2, ... characters, and words. Most of the long ones stand in one text alone: as heavy as the short,
# they drown what generated texts do wrong in what any two real ones differ by.
_WEIGHTS, _WORD_WEIGHTS = (1, 1, 1 / 4, 1 / 8), (1 / 4, 1 / 8)
_EDGE = 0x110000  # stands before and behind a text; no character has that number
_BLOCK, _TEXTS = 1 << 16, 1 << 10  # characters, and texts, that are looked at together: they stay in the cache
_ODD, _MIX = np.uint64(0x9E3779B97F4A7C15), (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

# Kinds of characters. Those from _LETTER on make a word together; a mark is of the kind of what it stands on.
_SPACE, _SIGN, _ALONE, _LETTER, _CAPITAL, _DIGIT, _MARK = range(7)
_TABLE = 0x40000  # characters; the few behind are signs
# Thai, Lao, Burmese, Khmer, kana, Han: no spaces between words, so each letter counts as one.
_UNSPACED = (
    *((0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF)),
    *((0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFD)),
)

SAMPLES = 500  # that are judged, where nothing is said


class Grams(Extractor[Sequence[str]]):
    """Which grams of 1 to 4 characters and of 1 and 2 words a text has: the extractor that knows nothing beforehand.

    Of each order the square roots of the relative frequencies, whose distances are Hellinger's, the longer weighing
    less. A signed hash projects all of them to 256 numbers, which on average leaves products as they are (Weinberger
    et al. 2009). Where a text begins and ends is a character, too; an empty text is zeros.
    """

    name = "grams-256"
    modality = "text"
    at_once: ClassVar[int] = 4096

    def features(self, items: Sequence[str]) -> Tensor:
        """`(N, 256)`, float32, of length one on average. Raises UserError on what is no text."""
        other = next((item for item in items if not isinstance(item, str)), None)
        if other is not None:
            raise UserError(f"an item is a {type(other).__name__}; expected texts, of type str")
        found = np.zeros((len(items), _WIDTH), np.float32)
        for block in _blocks((number, item) for number, item in enumerate(items) if item):
            found[[number for number, _ in block]] = _projected([item for _, item in block])
        return torch.from_numpy(found)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"name": self.name}, {}


def own(
    chunks: Iterable[Sequence[str]], labels: Sequence[str] | None, *, codec: Any, seed: int
) -> Extractor[Sequence[str]]:
    """The extractor of texts where none is named. It needs no training: what it is given is not looked at."""
    return Grams()


def restored(config: dict[str, Any], tensors: dict[str, Tensor]) -> Extractor[Sequence[str]]:
    """The extractor whose `state` these are. Raises UserError on one that is not known here."""
    if config.get("name") != Grams.name:
        raise UserError(f"texts have no extractor '{config.get('name')}'; known: {Grams.name}")
    return Grams()


def floor(items: Sequence[str], seed: int) -> list[str]:
    """Texts with the right characters and lengths, and nothing else: the characters of all of them, shuffled."""
    points = _points("".join(items)).copy()
    np.random.default_rng(seed).shuffle(points)
    shuffled = points.tobytes().decode("utf-32-le", "surrogatepass")
    return [shuffled[start:stop] for start, stop in pairwise(accumulate(map(len, items), initial=0))]


def measured(items: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Properties of each text, `(N,)`, by their names. Shares are of its characters; an empty text has zeros.

    Signs, such as full stops, count as no words here.
    """
    kinds, words, breaks = np.zeros((len(items), _MARK)), np.zeros(len(items)), np.zeros(len(items))
    for block in _blocks(_pieces(items)):
        rows = [number for number, _ in block]
        points, lengths = _joined([piece for _, piece in block])
        found, starts = _parsed(points)
        owners = np.repeat(np.arange(len(rows)), lengths)
        tallies = np.bincount(owners * _MARK + found, minlength=len(rows) * _MARK).reshape(-1, _MARK)
        tallies[:, _SPACE] -= 2  # the line ends around each
        np.add.at(kinds, rows, tallies)
        np.add.at(words, rows, np.bincount(owners[starts & (found != _SIGN)], minlength=len(rows)))
        np.add.at(breaks, rows, np.bincount(owners[points == ord("\n")], minlength=len(rows)) - 2)
    length = kinds.sum(1)
    some = np.maximum(length, 1)
    return {
        "length (characters)": length,
        "lines": np.where(length > 0, breaks + 1, 0.0),
        "words": words,
        "letters of a word": kinds[:, _ALONE:].sum(1) / np.maximum(words, 1),
        "share of white space": kinds[:, _SPACE] / some,
        "share of capitals": kinds[:, _CAPITAL] / some,
        "share of digits": kinds[:, _DIGIT] / some,
        "share of other signs": kinds[:, _SIGN] / some,
    }


def words(items: Sequence[str]) -> tuple[Numbers, Counts]:
    """A number for each word of the texts, in order, `(W,)`, and how many each text has, `(N,)`.

    A word is a run of letters, digits and the marks on them, or any other sign but white space. One word always has
    the same number; two share one with a probability of 2⁻⁶⁴.
    """
    found, counts = [np.empty(0, np.uint64)], np.zeros(len(items), np.int64)
    for block in _blocks(_pieces(items)):
        numbers, lengths = _words(*_joined([piece for _, piece in block]))
        found.append(numbers)
        np.add.at(counts, [number for number, _ in block], lengths)
    return np.concatenate(found), counts


def grams(tokens: Numbers, lengths: Counts, most: int) -> Iterator[tuple[Numbers, Counts]]:
    """Of each order from 1 to `most`, a number for each gram of tokens within a text, and which text it is of.

    Takes the tokens of all texts, in order, `(W,)`, and how many each has, `(N,)`.
    """
    owners = np.repeat(np.arange(len(lengths)), lengths)
    found = tokens
    yield found, owners
    for order in range(2, most + 1):
        found = found[:-1] * _ODD + tokens[order - 1 :]
        inside = owners[: len(found)] == owners[order - 1 :]
        yield found[inside], owners[: len(found)][inside]


def _projected(items: Sequence[str]) -> NDArray[np.float64]:
    """The features of texts, none of them empty, `(N, 256)`."""
    points, lengths = _joined(items)
    signs, stops = points.astype(np.uint64), np.cumsum(lengths)
    signs[stops - lengths] = signs[stops - 1] = _EDGE
    weights = np.array(_WEIGHTS + _WORD_WEIGHTS) / np.linalg.norm(_WEIGHTS + _WORD_WEIGHTS)
    orders = chain(grams(signs, lengths, len(_WEIGHTS)), grams(*_words(points, lengths), len(_WORD_WEIGHTS)))
    total = np.zeros(len(items) * _WIDTH)
    for order, (weight, (numbers, owners)) in enumerate(zip(weights, orders, strict=True), 1):
        keys = _mixed(numbers + np.uint64(order)) >> np.uint64(16) | owners.astype(np.uint64) << np.uint64(48)
        # In the order of these, which the text alone settles, sums come out the same to the last bit anywhere.
        keys.sort()
        another = np.ones(len(keys), bool)
        np.not_equal(keys[1:], keys[:-1], out=another[1:])
        first = np.flatnonzero(another)
        counts, keys = np.diff(first, append=len(keys)), keys[first].view(np.int64)
        amounts = weight * np.sqrt(counts / np.bincount(owners, minlength=len(items))[keys >> 48])
        amounts *= 1 - (keys & _WIDTH) * (2 / _WIDTH)
        total += np.bincount(keys >> 48 << _BITS | keys & (_WIDTH - 1), amounts, len(total))
    return total.reshape(len(items), _WIDTH)


def _words(points: NDArray[np.uint32], lengths: Counts) -> tuple[Numbers, Counts]:
    """A number for each word of joined texts, and how many each has."""
    kinds, starts = _parsed(points)
    at = np.flatnonzero(starts)
    stops = np.searchsorted(at, np.cumsum(lengths))
    if not len(at):
        return np.empty(0, np.uint64), stops
    # A word is the set of its characters at their places, and its number a sum over that set.
    points, kinds = points[at[0] :], kinds[at[0] :]
    places = np.arange(len(points)) - np.repeat(at - at[0], np.diff(at, append=at[0] + len(points)))
    parts = _mixed(points.astype(np.uint64) | places.astype(np.uint64) << np.uint64(21))
    parts[kinds == _SPACE] = 0
    return np.add.reduceat(parts, at - at[0]), np.diff(stops, prepend=0)


def _parsed(points: NDArray[np.uint32]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The kind of each character, and whether a word begins with it. The first must be white space."""
    kinds = _kinds().take(points, mode="clip")
    marks = kinds == _MARK
    if marks.any():
        kinds = kinds[np.maximum.accumulate(np.where(marks, 0, np.arange(len(kinds))))]
    starts = (kinds > _SPACE) & ~marks
    starts[1:] &= (kinds[1:] < _LETTER) | (kinds[:-1] < _LETTER)
    return kinds, starts


@cache
def _kinds() -> NDArray[np.uint8]:
    """The kind of each character, as this Python's Unicode has it."""
    kinds = {"L": _LETTER, "Lu": _CAPITAL, "Lt": _CAPITAL, "N": _DIGIT, "M": _MARK, "Cf": _MARK}
    categories = map(unicodedata.category, map(chr, range(_TABLE)))
    table = np.array([kinds.get(one, kinds.get(one[0], _SIGN)) for one in categories], np.uint8)
    for start, stop in _UNSPACED:
        letters = table[start : stop + 1]
        letters[letters == _LETTER] = _ALONE
    table[[point for point in range(_TABLE) if chr(point).isspace()]] = _SPACE
    return table


def _mixed(x: Numbers) -> Numbers:
    """Numbers of which each bit hangs on all bits of `x`, one to one (splitmix64, Steele et al. 2014)."""
    x = (x ^ x >> np.uint64(30)) * _MIX[0]
    x ^= x >> np.uint64(27)
    x *= _MIX[1]
    x ^= x >> np.uint64(31)
    return x


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _joined(items: Sequence[str]) -> tuple[NDArray[np.uint32], Counts]:
    """The characters of all texts, each between two line ends, and how many that are of each, `(N,)`."""
    lengths = np.fromiter((len(item) + 2 for item in items), np.int64, len(items))
    return _points("\n" + "\n\n".join(items) + "\n"), lengths


def _pieces(items: Sequence[str]) -> Iterator[Text]:
    """The texts, long ones in several pieces, which end where words do."""
    for number, item in enumerate(items):
        start = 0
        while len(item) - start > _BLOCK:
            stop = max(item.rfind(space, start, start + _BLOCK) for space in " \n") + 1 or start + _BLOCK
            yield number, item[start:stop]
            start = stop
        yield number, item[start:]


def _blocks(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Texts that are worth looking at together."""
    block: list[Text] = []
    held = 0
    for text in texts:
        if block and (held + len(text[1]) > _BLOCK or len(block) == _TEXTS):
            yield block
            block, held = [], 0
        block.append(text)
        held += len(text[1])
    if block:
        yield block
