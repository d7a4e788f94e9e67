"""Variety of words within and between texts, and unknown words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError

from ..features import grams
from ..features import words as hash_words
from ._shuffle import shuffled


def word_count(texts: Sequence[str]) -> int:
    """Return the number of words, signs included; `words` of `distinct` may be that of the smaller of two sets."""
    return int(hash_words(texts)[1].sum())


def distinct(texts: Sequence[str], n: int, *, words: int, seed: int = 0) -> float:
    """Return the share of different grams of `n` words: Distinct-n of Li et al. 2016 at a fixed amount of text.

    It falls with that amount, so it reads the first `words` words of the texts, in a random order that their content
    determines: compare at the same number. Raises UserError on fewer words, and where no text has `n`.
    """
    numbers, lengths = hash_words(shuffled(texts, seed))
    if not 0 < words <= len(numbers):
        raise UserError(f"the texts have {len(numbers)} words, fewer than words={words}; choose 1 to {len(numbers)}")
    lengths = np.diff(np.minimum(np.cumsum(lengths), words), prepend=0)
    *_, (hashes, _) = grams(numbers[:words], lengths, n)
    if not len(hashes):
        raise UserError(f"no text among the first {words} words has {n}; choose a smaller n")
    return len(np.unique(hashes)) / len(hashes)


def repetition(texts: Sequence[str], n: int = 4) -> float:
    """Return the mean share of grams of `n` words that occurred before in the same text: near 1 where texts loop.

    This is seq-rep-n of Welleck et al. 2020 (arXiv 1908.04319); it rises with the length of texts. Texts with fewer
    words are left out. Raises UserError where none is left.
    """
    *_, (hashes, owners) = grams(*hash_words(texts), n)
    if not len(hashes):
        raise UserError(f"no text has {n} words; choose a smaller n")
    order = np.lexsort((owners, hashes))
    again = (np.diff(hashes[order]) == 0) & (np.diff(owners[order]) == 0)
    totals = np.bincount(owners)
    return float((np.bincount(owners[order][1:], again, len(totals))[totals > 0] / totals[totals > 0]).mean())


def vocabulary(corpus: Sequence[str]) -> NDArray[Any]:
    """Return the hashes of the words in the corpus, for `unknown_words`."""
    return np.unique(hash_words(corpus)[0])


def unknown_words(texts: Sequence[str], known: NDArray[Any]) -> float:
    """Return the share of words that are not in a vocabulary. Raises UserError on texts without a word."""
    numbers, _ = hash_words(texts)
    if not len(numbers):
        raise UserError("the texts have no words")
    return float(np.isin(numbers, known, invert=True).mean())
