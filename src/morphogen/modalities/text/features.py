"""Features of texts that need no training, their words, and plain properties."""

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

_BITS = 8  # of a gram's hash, which choose the feature; the next bit is the sign
_WIDTH = 1 << _BITS
# Weights of grams of 1, 2, ... characters, and of words. Most long grams occur in one text only: with equal weights the
# differences between any two real texts would hide the faults of generated ones.
_WEIGHTS, _WORD_WEIGHTS = (1, 1, 1 / 4, 1 / 8), (1 / 4, 1 / 8)
_EDGE = 0x110000  # before and after a text; no character has that number
_BLOCK, _TEXTS = 1 << 16, 1 << 10  # characters, and texts, of a block: they stay in the cache
_ODD, _MIX = np.uint64(0x9E3779B97F4A7C15), (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

# Kinds of characters. Those from _LETTER on form words together; a mark has the kind of the character before it.
_SPACE, _SIGN, _ALONE, _LETTER, _CAPITAL, _DIGIT, _MARK = range(7)
_TABLE = 0x40000  # characters in the table; the few beyond are signs
# Thai, Lao, Burmese, Khmer, kana, Han: no spaces between words, so each letter counts as one.
_UNSPACED = (
    *((0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF)),
    *((0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFD)),
)


class Grams(Extractor[Sequence[str]]):
    """Grams of 1 to 4 characters and of 1 and 2 words: features without training.

    The square roots of the relative frequencies of each order, whose distances are Hellinger's, with smaller weights
    for longer grams. A signed hash projects them to 256 numbers and preserves inner products in expectation (Weinberger
    et al. 2009). The ends of a text count as characters; an empty text is zeros.
    """

    name = "grams-256"
    modality = "text"
    at_once: ClassVar[int] = 4096

    def features(self, items: Sequence[str]) -> Tensor:
        """Return `(N, 256)`, float32, of length one on average. Raises UserError on an item that is no text."""
        other = next((item for item in items if not isinstance(item, str)), None)
        if other is not None:
            raise UserError(f"an item is a {type(other).__name__}; expected texts, of type str")
        features = np.zeros((len(items), _WIDTH), np.float32)
        for block in _blocks((number, item) for number, item in enumerate(items) if item):
            features[[number for number, _ in block]] = _projected([item for _, item in block])
        return torch.from_numpy(features)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"name": self.name}, {}


def fit_extractor(
    chunks: Iterable[Sequence[str]], labels: Sequence[str] | None, *, codec: Any, seed: int
) -> Extractor[Sequence[str]]:
    """Return the default extractor of texts. It needs no training: the arguments are not read."""
    return Grams()


def restore_extractor(config: dict[str, Any], tensors: dict[str, Tensor]) -> Extractor[Sequence[str]]:
    """Return the extractor of which `Extractor.state` returned these. Raises UserError on an unknown one."""
    if config.get("name") != Grams.name:
        raise UserError(f"texts have no extractor '{config.get('name')}'; known: {Grams.name}")
    return Grams()


def independent_baseline(items: Sequence[str], seed: int) -> list[str]:
    """Return texts of the same lengths with independent characters: those of all texts, shuffled."""
    points = _points("".join(items)).copy()
    np.random.default_rng(seed).shuffle(points)
    shuffled = points.tobytes().decode("utf-32-le", "surrogatepass")
    return [shuffled[start:stop] for start, stop in pairwise(accumulate(map(len, items), initial=0))]


def shuffled_words(items: Sequence[str], seed: int) -> list[str]:
    """Return the texts with their words, as spaces part them, in random order."""
    random = np.random.default_rng(seed)
    parts = [item.split(" ") for item in items]
    return [" ".join(words[at] for at in random.permutation(len(words))) for words in parts]


def properties(items: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return plain properties of each text, `(N,)`, by name. Shares are of its characters; an empty text has zeros.

    Signs, such as full stops, are no words here.
    """
    kinds, words, breaks = np.zeros((len(items), _MARK)), np.zeros(len(items)), np.zeros(len(items))
    for block in _blocks(_pieces(items)):
        rows = [number for number, _ in block]
        points, lengths = _joined([piece for _, piece in block])
        parsed, starts = _parsed(points)
        owners = np.repeat(np.arange(len(rows)), lengths)
        tallies = np.bincount(owners * _MARK + parsed, minlength=len(rows) * _MARK).reshape(-1, _MARK)
        tallies[:, _SPACE] -= 2  # the line ends around each
        np.add.at(kinds, rows, tallies)
        np.add.at(words, rows, np.bincount(owners[starts & (parsed != _SIGN)], minlength=len(rows)))
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
    """Return a hash of each word of the texts, in order, `(W,)`, and the number of words of each text, `(N,)`.

    A word is a run of letters, digits and combining marks, or any single sign that is no white space. Different words
    collide with a probability of 2⁻⁶⁴.
    """
    hashes, counts = [np.empty(0, np.uint64)], np.zeros(len(items), np.int64)
    for block in _blocks(_pieces(items)):
        numbers, lengths = _words(*_joined([piece for _, piece in block]))
        hashes.append(numbers)
        np.add.at(counts, [number for number, _ in block], lengths)
    return np.concatenate(hashes), counts


def grams(tokens: Numbers, lengths: Counts, most: int) -> Iterator[tuple[Numbers, Counts]]:
    """Yield for each order from 1 to `most` a hash of each gram of tokens within a text, and the index of its text.

    `tokens` are those of all texts, in order, `(W,)`; `lengths` is the number of each text, `(N,)`.
    """
    owners = np.repeat(np.arange(len(lengths)), lengths)
    hashes = tokens
    yield hashes, owners
    for order in range(2, most + 1):
        hashes = hashes[:-1] * _ODD + tokens[order - 1 :]
        inside = owners[: len(hashes)] == owners[order - 1 :]
        yield hashes[inside], owners[: len(hashes)][inside]


def _projected(items: Sequence[str]) -> NDArray[np.float64]:
    """Return the features of texts, none of them empty, `(N, 256)`."""
    points, lengths = _joined(items)
    signs, stops = points.astype(np.uint64), np.cumsum(lengths)
    signs[stops - lengths] = signs[stops - 1] = _EDGE
    weights = np.array(_WEIGHTS + _WORD_WEIGHTS) / np.linalg.norm(_WEIGHTS + _WORD_WEIGHTS)
    orders = chain(grams(signs, lengths, len(_WEIGHTS)), grams(*_words(points, lengths), len(_WORD_WEIGHTS)))
    total = np.zeros(len(items) * _WIDTH)
    for order, (weight, (numbers, owners)) in enumerate(zip(weights, orders, strict=True), 1):
        keys = _mixed(numbers + np.uint64(order)) >> np.uint64(16) | owners.astype(np.uint64) << np.uint64(48)
        # Sorted by content, so that sums are equal to the last bit wherever the text stands.
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
    """Return a hash of each word of joined texts, and the number of words of each."""
    kinds, starts = _parsed(points)
    at = np.flatnonzero(starts)
    stops = np.searchsorted(at, np.cumsum(lengths))
    if not len(at):
        return np.empty(0, np.uint64), stops
    # The hash of a word is a sum over its characters, each hashed with its position.
    points, kinds = points[at[0] :], kinds[at[0] :]
    places = np.arange(len(points)) - np.repeat(at - at[0], np.diff(at, append=at[0] + len(points)))
    parts = _mixed(points.astype(np.uint64) | places.astype(np.uint64) << np.uint64(21))
    parts[kinds == _SPACE] = 0
    return np.add.reduceat(parts, at - at[0]), np.diff(stops, prepend=0)


def _parsed(points: NDArray[np.uint32]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the kind of each character, and whether a word begins with it. The first must be white space."""
    kinds = _kinds().take(points, mode="clip")
    marks = kinds == _MARK
    if marks.any():
        kinds = kinds[np.maximum.accumulate(np.where(marks, 0, np.arange(len(kinds))))]
    starts = (kinds > _SPACE) & ~marks
    starts[1:] &= (kinds[1:] < _LETTER) | (kinds[:-1] < _LETTER)
    return kinds, starts


@cache
def _kinds() -> NDArray[np.uint8]:
    """Return the kind of each character, by this Python's version of Unicode."""
    kinds = {"L": _LETTER, "Lu": _CAPITAL, "Lt": _CAPITAL, "N": _DIGIT, "M": _MARK, "Cf": _MARK}
    categories = map(unicodedata.category, map(chr, range(_TABLE)))
    table = np.array([kinds.get(one, kinds.get(one[0], _SIGN)) for one in categories], np.uint8)
    for start, stop in _UNSPACED:
        letters = table[start : stop + 1]
        letters[letters == _LETTER] = _ALONE
    table[[point for point in range(_TABLE) if chr(point).isspace()]] = _SPACE
    return table


def _mixed(x: Numbers) -> Numbers:
    """Return a bijective hash of each number (splitmix64, Steele et al. 2014)."""
    x = (x ^ x >> np.uint64(30)) * _MIX[0]
    x ^= x >> np.uint64(27)
    x *= _MIX[1]
    x ^= x >> np.uint64(31)
    return x


def _points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _joined(items: Sequence[str]) -> tuple[NDArray[np.uint32], Counts]:
    """Return the characters of all texts, each between two line ends, and the number of each, `(N,)`."""
    lengths = np.fromiter((len(item) + 2 for item in items), np.int64, len(items))
    return _points("\n" + "\n\n".join(items) + "\n"), lengths


def _pieces(items: Sequence[str]) -> Iterator[Text]:
    """Yield the texts, long ones in several pieces that end between words."""
    for number, item in enumerate(items):
        start = 0
        while len(item) - start > _BLOCK:
            stop = max(item.rfind(space, start, start + _BLOCK) for space in " \n") + 1 or start + _BLOCK
            yield number, item[start:stop]
            start = stop
        yield number, item[start:]


def _blocks(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Yield blocks of texts that are processed together."""
    block: list[Text] = []
    characters = 0
    for text in texts:
        if block and (characters + len(text[1]) > _BLOCK or len(block) == _TEXTS):
            yield block
            block, characters = [], 0
        block.append(text)
        characters += len(text[1])
    if block:
        yield block
