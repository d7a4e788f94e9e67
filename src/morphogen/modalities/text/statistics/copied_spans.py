"""The longest span of each generated text that occurs verbatim in the training texts.

Windows of equal length are compared by 64-bit hashes. The hash of 2^k characters combines those of its halves (the
naming of Karp, Miller & Rosenberg 1972); that of any other length combines two windows of the last power of two. From
power to power only positions whose window occurs on the other side remain; in between, bisection finds each text's
length. Finally the characters themselves are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

_CHUNK = 1 << 18  # characters of either side that are processed together
_SIEVE = 20  # leading bits of a hash that prefilter the search
_SHIFT = np.uint64(64 - _SIEVE)
_ODD = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)
_APART = 0x110000  # numbers from here on are no characters; each ends one text only

Numbers = NDArray[np.uint64]
Positions = NDArray[np.int64]
Part = tuple[int, int, str]  # index of the text, offset in it, characters


class Copied(NamedTuple):
    """`span` is `corpus[item][offset : offset + len(span)]`, and also occurs in text number `text`."""

    text: int
    item: int
    offset: int
    span: str


class _CollisionError(Exception):
    """Two windows have one hash and different characters."""


def longest_copied(texts: Sequence[str], corpus: Sequence[str]) -> list[Copied]:
    """Return the longest span of each text that occurs in a text of the corpus; one of several equally long ones.

    The span is empty where no character occurs. Texts of up to 250,000 characters need some 40 MB of memory; 500 texts
    of 1,000 characters and 2 MB of corpus take a second. Raises UserError where the corpus is empty.
    """
    if not len(corpus):
        raise UserError("the corpus is empty; expected training texts to look for copies of")
    for salt in count():
        try:
            best = [Copied(number, 0, 0, "") for number in range(len(texts))]
            for block in _chunks(texts, None):
                search = _Search([best[number] for number, _, _ in block], [text for _, _, text in block])
                overlap = max(len(text) for _, _, text in block)
                for chunk in _chunks(corpus, overlap):
                    search.add(chunk, salt)
                for copied in search.best:
                    best[copied.text] = copied
            return best
        except _CollisionError:  # once in a million times
            continue
    raise AssertionError


def may_share(texts: Sequence[str], corpus: Sequence[str], length: int) -> NDArray[np.bool_]:
    """Return which texts may share a run of 2 `length` - 1 characters with a text of the corpus, bool `(N,)`.

    Each such run contains a window of `length` that begins at a multiple of it in the text, and only these windows are
    looked up: 10 MB of texts in 100 MB of corpus take half a minute. A text that shares only one window counts, too.
    """
    owners, windows = [], []
    for chunk in _chunks(texts, None):
        side = _Side([text for _, _, text in chunk], 0, 0)
        side.reach(length)
        within = np.arange(len(side.owners)) - side.starts[side.owners]
        places = np.flatnonzero(within % length == 0)
        owners.append(np.array([number for number, _, _ in chunk])[side.owners[places]])
        windows.append(side.windows(places, length))
    hit = np.zeros(len(texts), bool)
    if not owners:
        return hit
    hashes, inverse = np.unique(np.concatenate(windows), return_inverse=True)
    present, sieve = np.zeros(len(hashes), bool), _sieve(hashes)
    for chunk in _chunks(corpus, length):
        side = _Side([part for _, _, part in chunk], 1, 0)
        side.reach(length)
        theirs = side.windows(np.arange(len(side.owners)), length)
        _, index = _look_up(hashes, sieve, theirs)
        present[index] = True
    hit[np.concatenate(owners)[present[inverse]]] = True
    return hit


def _chunks(texts: Sequence[str], overlap: int | None) -> Iterator[list[Part]]:
    """Yield texts to process together, long ones in parts that overlap by so many characters; None: all whole."""
    chunk: list[Part] = []
    characters = 0
    for number, text in enumerate(texts):
        stride = max(1, len(text)) if overlap is None else max(_CHUNK, overlap)
        for start in range(0, max(1, len(text)), stride):
            part = text[start : start + stride + (overlap or 0)]
            if chunk and characters + len(part) >= _CHUNK:
                yield chunk
                chunk, characters = [], 0
            chunk.append((number, start, part))
            characters += len(part) + 1
    if chunk:
        yield chunk


class _Side:
    """Concatenated texts, and a hash of the `width` characters from each position on."""

    def __init__(self, texts: Sequence[str], parity: int, salt: int) -> None:
        lengths = np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts))
        self.starts = np.cumsum(lengths) - lengths
        self.owners = np.repeat(np.arange(len(texts)), lengths)
        joined = "\0".join((*texts, ""))
        points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
        # Terminators differ between the sides, so no common window reaches beyond its text.
        points[self.starts + lengths - 1] = _APART + 2 * np.arange(len(texts), dtype=np.uint64) + np.uint64(parity)
        self.width, self._hashes = 1, _combined(points, np.uint64(salt))

    def double(self) -> None:
        last = np.broadcast_to(self._hashes[-1:], min(self.width, len(self._hashes)))
        second = np.concatenate([self._hashes[self.width :], last])
        self.width, self._hashes = 2 * self.width, _combined(self._hashes, second)

    def reach(self, length: int) -> None:
        """Double the width until two windows cover so many characters."""
        while 2 * self.width < length:
            self.double()

    def windows(self, places: Positions, length: int) -> Numbers:
        """Return the hashes of `length` characters from each place on; `width` <= `length` <= 2 `width`."""
        if length == self.width:
            return self._hashes[places]
        second = np.minimum(places + (length - self.width), len(self._hashes) - 1)
        return _combined(self._hashes[places], self._hashes[second])


def _combined(one: Numbers, other: Numbers | np.uint64) -> Numbers:
    x = one * _ODD[0] + (other ^ other >> np.uint64(32)) * _ODD[1]
    x ^= x >> np.uint64(29)
    x *= _ODD[0]
    x ^= x >> np.uint64(32)
    return x


class _Search:
    """The longest spans of some texts so far; `add` searches more of the corpus."""

    def __init__(self, best: list[Copied], texts: list[str]) -> None:
        self.best, self.texts = best, texts
        self.lengths = np.array([len(text) for text in texts])
        self.reached = np.zeros(len(texts), np.int64)

    def add(self, chunk: list[Part], salt: int) -> None:
        one, other = _Side(self.texts, 0, salt), _Side([part for _, _, part in chunk], 1, salt)
        everywhere, anywhere = np.arange(len(one.owners)), np.arange(len(other.owners))
        # A text joins at the last power of two at which a window could still exceed its longest span.
        joins = np.where(self.reached < self.lengths, 1 << np.log2(self.reached + 1).astype(np.int64), 0)
        fronts: list[tuple[Positions, Positions]] = []
        while fronts or (joins >= one.width).any():
            joining = everywhere[joins[one.owners] == one.width]
            if len(joining):
                fronts.append(_shared(one, other, joining, anywhere, one.width))
            longer = []
            for places, others in fronts:
                shared = _shared(one, other, places, others, 2 * one.width)
                self._bisect(one, other, chunk, _without(one, places, shared[0]), others)
                if len(shared[0]):
                    longer.append(shared)
            fronts = longer
            one.double()
            other.double()

    def _bisect(self, one: _Side, other: _Side, chunk: list[Part], places: Positions, others: Positions) -> None:
        """Find the longest spans of texts that share a window of the width, and none of twice the width."""
        if not (self.reached[one.owners[places]] < 2 * one.width - 1).any():
            return
        # Positions with equal windows are interchangeable; without this a long run of one sign would take minutes.
        _, first = np.unique(other.windows(others, 2 * one.width), return_index=True)
        left = [(places, others[np.sort(first)], one.width, 2 * one.width)]
        while left:
            places, others, low, high = left.pop()
            places = places[self.reached[one.owners[places]] < high - 1]
            if not len(places):
                continue
            if high - low == 1:
                self._record(one, other, chunk, places, others, low)
                continue
            middle = (low + high) // 2
            shared = _shared(one, other, places, others, middle)
            left.append((*shared, middle, high))
            left.append((*_shared(one, other, _without(one, places, shared[0]), others, low), low, middle))

    def _record(
        self, one: _Side, other: _Side, chunk: list[Part], places: Positions, others: Positions, length: int
    ) -> None:
        """Record the first window of each text. Raises _CollisionError where the characters differ."""
        owners, first = np.unique(one.owners[places], return_index=True)
        hashes = other.windows(others, length)
        order = np.argsort(hashes, kind="stable")
        matches = others[order[np.searchsorted(hashes[order], one.windows(places[first], length))]]
        for owner, place, there in zip(owners.tolist(), places[first].tolist(), matches.tolist(), strict=True):
            at, part = place - int(one.starts[owner]), int(other.owners[there])
            item, start, characters = chunk[part]
            offset = there - int(other.starts[part])
            span = self.texts[owner][at : at + length]
            if span != characters[offset : offset + length]:
                raise _CollisionError
            self.best[owner] = Copied(self.best[owner].text, item, start + offset, span)
            self.reached[owner] = length


def _shared(one: _Side, other: _Side, places: Positions, others: Positions, length: int) -> tuple[Positions, Positions]:
    """Return the positions of either side whose windows of that length occur on the other side."""
    hashes, inverse = np.unique(one.windows(places, length), return_inverse=True)
    indices, at = _look_up(hashes, _sieve(hashes), other.windows(others, length))
    present = np.zeros(len(hashes), bool)
    present[at] = True
    return places[present[inverse]], others[indices]


def _sieve(hashes: Numbers) -> NDArray[np.bool_]:
    sieve = np.zeros(1 << _SIEVE, bool)
    sieve[hashes >> _SHIFT] = True
    return sieve


def _look_up(hashes: Numbers, sieve: NDArray[np.bool_], theirs: Numbers) -> tuple[Positions, Positions]:
    """Return which of `theirs` are among the sorted hashes, and their indices there."""
    indices = np.flatnonzero(sieve[theirs >> _SHIFT])
    theirs = theirs[indices]
    at = np.searchsorted(hashes, theirs)
    at[at == len(hashes)] = 0
    same = hashes[at] == theirs
    return indices[same], at[same]


def _without(side: _Side, places: Positions, others: Positions) -> Positions:
    """Return the positions in texts without any position among the others."""
    present = np.zeros(len(side.starts), bool)
    present[side.owners[others]] = True
    return places[~present[side.owners[places]]]
