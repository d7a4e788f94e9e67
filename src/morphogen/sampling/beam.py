"""The bookkeeping of a beam search: which beams go on, and which ended."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Beams(NamedTuple):
    """Best first: the beam each goes on from, its new symbol, and its score, each `(n,)`."""

    parent: Tensor
    symbol: Tensor
    score: Tensor


def extend(
    log_probabilities: Tensor, scores: Tensor, beams: int, length: int, *, end: int | None = None, alpha: float = 1.0
) -> tuple[Beams, Beams]:
    """The beams that go on, at most `beams`, and those that ended, of all that `(n, vocab)` and scores `(n,)` lead to.

    It begins with the one empty beam, of score 0; n may be below `beams` while there are not so many.
    A score is the sum of log-probabilities, and of an ended beam divided by `length ** alpha`, where `length` counts
    the symbols up to and with the new one. As in transformers, twice as many candidates as beams are looked at, so
    that enough go on, and one that ended is kept if it is among the first `beams` of them. Of equals first the lower
    beam, then the lower symbol. What has no probability is left out.
    """
    vocab = log_probabilities.shape[1]
    total = (scores.unsqueeze(1) + log_probabilities.to(scores)).flatten()
    lowest = total.topk(min(2 * beams, len(total))).values[-1]
    places = ((total >= lowest) & (total > -torch.inf)).nonzero().squeeze(1)
    places = places[total[places].argsort(descending=True, stable=True)][: 2 * beams]
    parent, symbol = places // vocab, places % vocab
    found = Beams(parent, symbol, total[places])
    ends = symbol == (-1 if end is None else end)
    going = Beams(*(part[~ends][:beams] for part in found))
    ended = Beams(*(part[:beams][ends[:beams]] for part in found))
    return going, ended._replace(score=ended.score / length**alpha)
