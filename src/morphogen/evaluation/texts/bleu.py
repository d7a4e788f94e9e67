"""How much generated texts are like each other: self-BLEU (Zhu et al. 2018, Texygen)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError
from morphogen.modalities.text.features import Counts, Numbers, grams, words

from ._drawn import drawn

_LITTLE = 0.1  # what stands for no gram in common


def self_bleu(texts: Sequence[str], *, order: int = 4, most: int = 500, seed: int = 0) -> float:
    """The mean BLEU of each text against all others: up to 1, where all are found twice. It rises with their number.

    BLEU is that of Papineni et al. 2002 for one candidate: grams of 1 to `order` words weigh the same, and the closest
    length of another text, the shorter of two, counts for the brevity penalty. Smoothed by method 1 of Chen & Cherry
    2014: where no gram of an order is in common, 0.1 are; but a text without a word in common has 0. Orders longer than
    the text are left out. Of no more than `most` texts. Raises UserError on fewer than two.
    """
    if len(texts) < 2:
        raise UserError(f"self-BLEU needs at least 2 texts; found {len(texts)}")
    numbers, lengths = words(drawn(texts, seed)[:most])
    logs, orders, nothing = np.zeros(len(lengths)), np.zeros(len(lengths)), np.zeros(len(lengths), bool)
    for number, (found, owners) in enumerate(grams(numbers, lengths, order)):
        total = np.bincount(owners, minlength=len(lengths))
        shared = _shared(found, owners, len(lengths))
        if number == 0:
            nothing = shared == 0
        there = total > 0
        logs[there] += np.log(np.where(shared > 0, shared, _LITTLE)[there] / total[there])
        orders += there
    penalty = np.minimum(0, 1 - _closest(lengths) / np.maximum(lengths, 1))
    values = np.where(nothing, 0, np.exp(logs / np.maximum(orders, 1) + penalty))
    wordless = lengths == 0
    values[wordless] = float(wordless.sum() > 1)  # alike, if to nothing else
    return float(values.mean())


def _shared(found: Numbers, owners: Counts, count: int) -> NDArray[np.float64]:
    """How many grams of each text, `(count,)`, are in another, each as often as in the one that has most of it."""
    if not len(found):
        return np.zeros(count)
    order = np.lexsort((owners, found))
    found, owners = found[order], owners[order]
    another = np.ones(len(found), bool)  # gram
    np.not_equal(found[1:], found[:-1], out=another[1:])
    apart = another.copy()  # gram, or text
    apart[1:] |= owners[1:] != owners[:-1]
    first = np.flatnonzero(apart)
    times, owners = np.diff(first, append=len(found)), owners[first]
    starts = np.flatnonzero(another[first])
    gram = np.cumsum(another[first]) - 1
    # The largest count in the other texts is the largest of all, but for the one text that alone has it.
    largest = np.maximum.reduceat(times, starts)[gram]
    has = times == largest
    second = np.maximum.reduceat(np.where(has, 0, times), starts)[gram]
    alone = has & (np.add.reduceat(has.astype(np.int64), starts)[gram] == 1)
    shared = np.minimum(times, np.where(alone, second, largest))
    return np.bincount(owners, shared, count).astype(np.float64)


def _closest(lengths: Counts) -> Counts:
    """The length of another text that is closest to that of each; of two as close, the shorter."""
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    below, above = np.append(-1, ordered[:-1]), np.append(ordered[1:], -1)
    lower = (above < 0) | (below >= 0) & (ordered - below <= above - ordered)
    closest = np.empty_like(lengths)
    closest[order] = np.where(lower, below, above)
    return closest
