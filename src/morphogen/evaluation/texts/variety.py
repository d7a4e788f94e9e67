"""How varied words are, within texts and between them, and whether they are words at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError
from morphogen.modalities.text.features import grams
from morphogen.modalities.text.features import words as numbered

from ._drawn import drawn


def word_count(texts: Sequence[str]) -> int:
    """How many words there are, signs included: `words` of `distinct` may be that of the smaller of two sets."""
    return int(numbered(texts)[1].sum())


def distinct(texts: Sequence[str], n: int, *, words: int, seed: int = 0) -> float:
    """The share of grams of `n` words that are different: Distinct-n of Li et al. 2016 at a fixed amount of text.

    It falls with that amount, so it is that of the first `words` words of the texts, in an order drawn by what is in
    them: compare at the same number. Raises UserError on fewer words than that, and where no text has `n`.
    """
    numbers, lengths = numbered(drawn(texts, seed))
    if not 0 < words <= len(numbers):
        raise UserError(f"the texts have {len(numbers)} words, and {words} are asked for; ask for 1 to {len(numbers)}")
    kept = np.diff(np.minimum(np.cumsum(lengths), words), prepend=0)
    *_, (found, _) = grams(numbers[:words], kept, n)
    if not len(found):
        raise UserError(f"no text among the first {words} words has {n}; choose a smaller n")
    return len(np.unique(found)) / len(found)


def repetition(texts: Sequence[str], n: int = 4) -> float:
    """The mean share of grams of `n` words that were in the same text before: near 1 where texts run in a loop.

    It is seq-rep-n of Welleck et al. 2020 (arXiv 1908.04319), and rises with the length of texts. Those with fewer
    words are left out; raises UserError where that are all.
    """
    *_, (found, owners) = grams(*numbered(texts), n)
    if not len(found):
        raise UserError(f"no text has {n} words; choose a smaller n")
    order = np.lexsort((owners, found))
    again = (np.diff(found[order]) == 0) & (np.diff(owners[order]) == 0)
    totals = np.bincount(owners)
    return float((np.bincount(owners[order][1:], again, len(totals))[totals > 0] / totals[totals > 0]).mean())


def vocabulary(corpus: Sequence[str]) -> NDArray[Any]:
    """The numbers of the words that are found in the corpus, for `unknown_words`."""
    return np.unique(numbered(corpus)[0])


def unknown_words(texts: Sequence[str], known: NDArray[Any]) -> float:
    """The share of words that are not known: of what spells badly, more than of real texts.

    Raises UserError on texts without a word.
    """
    numbers, _ = numbered(texts)
    if not len(numbers):
        raise UserError("the texts have no words")
    return float(np.isin(numbers, known, invert=True).mean())
