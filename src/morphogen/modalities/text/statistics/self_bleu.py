"""Self-BLEU: similarity of texts to each other (Zhu et al. 2018, Texygen)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

from ..features import Counts, Numbers, grams, words
from ._shuffle import shuffled

_SMOOTHING = 0.1  # counts in the place of 0 common grams


def self_bleu(texts: Sequence[str], *, order: int = 4, most: int = 500, seed: int = 0) -> float:
    """Return the mean BLEU of each text against all others; 1 where each occurs twice. It rises with their number.

    BLEU of Papineni et al. 2002 for one candidate: grams of 1 to `order` words weigh the same; the brevity penalty uses
    the closest length of another text, the shorter of two. Smoothing is method 1 of Chen & Cherry 2014: 0.1 in the
    place of 0 common grams of an order; but a text without a common word has 0. Orders longer than the text are left
    out. At most `most` texts are read. Raises UserError on fewer than two.
    """
    if len(texts) < 2:
        raise UserError(f"self-BLEU needs at least 2 texts; found {len(texts)}")
    numbers, lengths = words(shuffled(texts, seed)[:most])
    logs, orders, nothing = np.zeros(len(lengths)), np.zeros(len(lengths)), np.zeros(len(lengths), bool)
    for number, (hashes, owners) in enumerate(grams(numbers, lengths, order)):
        total = np.bincount(owners, minlength=len(lengths))
        shared = _shared(hashes, owners, len(lengths))
        if number == 0:
            nothing = shared == 0
        there = total > 0
        logs[there] += np.log(np.where(shared > 0, shared, _SMOOTHING)[there] / total[there])
        orders += there
    penalty = np.minimum(0, 1 - _closest(lengths) / np.maximum(lengths, 1))
    values = np.where(nothing, 0, np.exp(logs / np.maximum(orders, 1) + penalty))
    wordless = lengths == 0
    values[wordless] = float(wordless.sum() > 1)  # equal to each other
    return float(values.mean())


def _shared(hashes: Numbers, owners: Counts, count: int) -> NDArray[np.float64]:
    """Return how many grams of each text are in another, `(count,)`; each counts up to its most frequent use there."""
    if not len(hashes):
        return np.zeros(count)
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    another = np.ones(len(hashes), bool)  # gram
    np.not_equal(hashes[1:], hashes[:-1], out=another[1:])
    apart = another.copy()  # gram, or text
    apart[1:] |= owners[1:] != owners[:-1]
    first = np.flatnonzero(apart)
    times, owners = np.diff(first, append=len(hashes)), owners[first]
    starts = np.flatnonzero(another[first])
    gram = np.cumsum(another[first]) - 1
    # The largest count in other texts is the largest of all, except for the only text that has it.
    largest = np.maximum.reduceat(times, starts)[gram]
    has = times == largest
    second = np.maximum.reduceat(np.where(has, 0, times), starts)[gram]
    alone = has & (np.add.reduceat(has.astype(np.int64), starts)[gram] == 1)
    shared = np.minimum(times, np.where(alone, second, largest))
    return np.bincount(owners, shared, count).astype(np.float64)


def _closest(lengths: Counts) -> Counts:
    """Return the closest length of another text for each; the shorter of two equally close ones."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    below, above = np.append(-1, ordered[:-1]), np.append(ordered[1:], -1)
    lower = (above < 0) | (below >= 0) & (ordered - below <= above - ordered)
    closest = np.empty_like(lengths)
    closest[order] = np.where(lower, below, above)
    return closest
