"""The longest span of each generated text that stands in the training texts, character for character.

Windows of one length are compared by hashes of 64 bits. That of 2^k characters is made of those of its halves (the
naming of Karp, Miller & Rosenberg 1972), that of any other length of those of the two windows of the last power of two
that cover it. From power to power only those places are kept whose window stands on the other side, too; in between,
each text's length is found by bisection. At last the characters themselves are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

_CHUNK = 1 << 18  # characters of either side that are looked at together
_SIEVE = 20  # bits of a hash that are looked up before it is searched for
_SHIFT = np.uint64(64 - _SIEVE)
_ODD = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)
_APART = 0x110000  # from here on numbers are no characters; each stands behind one text only

Numbers = NDArray[np.uint64]
Places = NDArray[np.int64]
Part = tuple[int, int, str]  # of which text, from where on, which characters


class Copied(NamedTuple):
    """`span` is `corpus[item][offset : offset + len(span)]`, and stands in the text of that number, too."""

    text: int
    item: int
    offset: int
    span: str


class _CollisionError(Exception):
    """Two windows have one hash and different characters."""


def longest_copied(texts: Sequence[str], corpus: Sequence[str]) -> list[Copied]:
    """Of each text the longest span, in characters, that is found in one of the corpus; of several as long, one.

    It is empty where not one character is. With texts of up to 250,000 characters this needs some 40 MB of memory; 500
    of 1,000 take a second for 2 MB of corpus. Raises UserError where the corpus is empty.
    """
    if not len(corpus):
        raise UserError("the corpus is empty; there is nothing that texts could be copies of")
    for salt in count():
        try:
            best = [Copied(number, 0, 0, "") for number in range(len(texts))]
            for block in _chunks(texts, None):
                search = _Search([best[number] for number, _, _ in block], [text for _, _, text in block])
                overlap = max(len(text) for _, _, text in block)
                for chunk in _chunks(corpus, overlap):
                    search.add(chunk, salt)
                for found in search.best:
                    best[found.text] = found
            return best
        except _CollisionError:  # one in a million times
            continue
    raise AssertionError


def meeting(texts: Sequence[str], corpus: Sequence[str], length: int) -> NDArray[np.bool_]:
    """Which texts may have 2 `length` - 1 characters in a row in common with one of the corpus; `(N,)`.

    Of such a run one window of `length` begins at a multiple of that in the text, and only these are looked for: 10 MB
    of texts in 100 MB of corpus take half a minute. Some are named that have only such a window in common.
    """
    owners, found = [], []
    for chunk in _chunks(texts, None):
        side = _Side([text for _, _, text in chunk], 0, 0)
        side.reach(length)
        within = np.arange(len(side.owners)) - side.starts[side.owners]
        places = np.flatnonzero(within % length == 0)
        owners.append(np.array([number for number, _, _ in chunk])[side.owners[places]])
        found.append(side.windows(places, length))
    hit = np.zeros(len(texts), bool)
    if not owners:
        return hit
    hashes, inverse = np.unique(np.concatenate(found), return_inverse=True)
    there, sieve = np.zeros(len(hashes), bool), _sieve(hashes)
    for chunk in _chunks(corpus, length):
        side = _Side([part for _, _, part in chunk], 1, 0)
        side.reach(length)
        theirs = side.windows(np.arange(len(side.owners)), length)
        _, at = _looked_up(hashes, sieve, theirs)
        there[at] = True
    hit[np.concatenate(owners)[there[inverse]]] = True
    return hit


def _chunks(texts: Sequence[str], overlap: int | None) -> Iterator[list[Part]]:
    """Texts that are looked at together, long ones in parts that overlap by so many characters; None: all are whole."""
    chunk: list[Part] = []
    held = 0
    for number, text in enumerate(texts):
        stride = max(1, len(text)) if overlap is None else max(_CHUNK, overlap)
        for start in range(0, max(1, len(text)), stride):
            part = text[start : start + stride + (overlap or 0)]
            if chunk and held + len(part) >= _CHUNK:
                yield chunk
                chunk, held = [], 0
            chunk.append((number, start, part))
            held += len(part) + 1
    if chunk:
        yield chunk


class _Side:
    """Texts one behind the other, and a hash of the `width` characters from each place on."""

    def __init__(self, texts: Sequence[str], parity: int, salt: int) -> None:
        lengths = np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts))
        self.starts = np.cumsum(lengths) - lengths
        self.owners = np.repeat(np.arange(len(texts)), lengths)
        joined = "\0".join((*texts, ""))
        points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
        # What differs between the sides is in no common window, so none reaches beyond its text.
        points[self.starts + lengths - 1] = _APART + 2 * np.arange(len(texts), dtype=np.uint64) + np.uint64(parity)
        self.width, self._hashes = 1, _combined(points, np.uint64(salt))

    def double(self) -> None:
        last = np.broadcast_to(self._hashes[-1:], min(self.width, len(self._hashes)))
        second = np.concatenate([self._hashes[self.width :], last])
        self.width, self._hashes = 2 * self.width, _combined(self._hashes, second)

    def reach(self, length: int) -> None:
        """Double until windows of so many characters can be made of two."""
        while 2 * self.width < length:
            self.double()

    def windows(self, places: Places, length: int) -> Numbers:
        """The hashes of `length` characters from each place on, at least `width` and at most twice as many."""
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
    """The best that was found so far for some texts; `add` looks at more of the corpus."""

    def __init__(self, best: list[Copied], texts: list[str]) -> None:
        self.best, self.texts = best, texts
        self.lengths = np.array([len(text) for text in texts])
        self.reached = np.zeros(len(texts), np.int64)

    def add(self, chunk: list[Part], salt: int) -> None:
        one, other = _Side(self.texts, 0, salt), _Side([part for _, _, part in chunk], 1, salt)
        everywhere, anywhere = np.arange(len(one.owners)), np.arange(len(other.owners))
        # A text joins in at the last power of two of which a window could still be more than it has.
        joins = np.where(self.reached < self.lengths, 1 << np.log2(self.reached + 1).astype(np.int64), 0)
        fronts: list[tuple[Places, Places]] = []
        while fronts or (joins >= one.width).any():
            fresh = everywhere[joins[one.owners] == one.width]
            if len(fresh):
                fronts.append(_shared(one, other, fresh, anywhere, one.width))
            longer = []
            for places, others in fronts:
                found = _shared(one, other, places, others, 2 * one.width)
                self._bisect(one, other, chunk, _without(one, places, found[0]), others)
                if len(found[0]):
                    longer.append(found)
            fronts = longer
            one.double()
            other.double()

    def _bisect(self, one: _Side, other: _Side, chunk: list[Part], places: Places, others: Places) -> None:
        """Find the lengths of texts of which a window of the width is in common, and none of twice that."""
        if not (self.reached[one.owners[places]] < 2 * one.width - 1).any():
            return
        # Places are one and the same if all is that could matter. Else a long run of one sign would take minutes.
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
            found = _shared(one, other, places, others, middle)
            left.append((*found, middle, high))
            left.append((*_shared(one, other, _without(one, places, found[0]), others, low), low, middle))

    def _record(self, one: _Side, other: _Side, chunk: list[Part], places: Places, others: Places, length: int) -> None:
        """Note the first of each text's windows. Raises _CollisionError where its characters are not the same."""
        owners, first = np.unique(one.owners[places], return_index=True)
        hashes = other.windows(others, length)
        order = np.argsort(hashes, kind="stable")
        found = others[order[np.searchsorted(hashes[order], one.windows(places[first], length))]]
        for owner, place, there in zip(owners.tolist(), places[first].tolist(), found.tolist(), strict=True):
            at, part = place - int(one.starts[owner]), int(other.owners[there])
            item, start, characters = chunk[part]
            offset = there - int(other.starts[part])
            span = self.texts[owner][at : at + length]
            if span != characters[offset : offset + length]:
                raise _CollisionError
            self.best[owner] = Copied(self.best[owner].text, item, start + offset, span)
            self.reached[owner] = length


def _shared(one: _Side, other: _Side, places: Places, others: Places, length: int) -> tuple[Places, Places]:
    """Those places of either side whose windows of that length are on the other, too."""
    hashes, inverse = np.unique(one.windows(places, length), return_inverse=True)
    kept, at = _looked_up(hashes, _sieve(hashes), other.windows(others, length))
    found = np.zeros(len(hashes), bool)
    found[at] = True
    return places[found[inverse]], others[kept]


def _sieve(hashes: Numbers) -> NDArray[np.bool_]:
    sieve = np.zeros(1 << _SIEVE, bool)
    sieve[hashes >> _SHIFT] = True
    return sieve


def _looked_up(hashes: Numbers, sieve: NDArray[np.bool_], theirs: Numbers) -> tuple[Places, Places]:
    """Which of `theirs` are among the sorted hashes, and where."""
    kept = np.flatnonzero(sieve[theirs >> _SHIFT])
    theirs = theirs[kept]
    at = np.searchsorted(hashes, theirs)
    at[at == len(hashes)] = 0
    same = hashes[at] == theirs
    return kept[same], at[same]


def _without(side: _Side, places: Places, others: Places) -> Places:
    """The places in texts of which none is among the others."""
    there = np.zeros(len(side.starts), bool)
    there[side.owners[others]] = True
    return places[~there[side.owners[places]]]
