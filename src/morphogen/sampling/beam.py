"""One step of a beam search: which beams continue, and which end."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Beams(NamedTuple):
    """Best first: the beam that each extends, its new token, and its score, each `(n,)`."""

    parent: Tensor
    token: Tensor
    score: Tensor


def extend(
    log_probabilities: Tensor, scores: Tensor, beams: int, length: int, *, end: int | None = None, alpha: float = 1.0
) -> tuple[Beams, Beams]:
    """Return the beams that continue, at most `beams`, and those that end, from log-probabilities `(n, vocab)`.

    A search starts with one empty beam of score 0; n is below `beams` while there are not so many. A score `(n,)` is
    the sum of log-probabilities, and for an ended beam that sum divided by `length ** alpha`, where `length` counts
    the tokens including the new one. As in transformers, twice as many candidates as beams are considered, so that
    enough continue, and an ended one counts if it is among the first `beams` of them. Ties go to the lower beam, then
    the lower token. Candidates of probability 0 are left out.
    """
    vocab = log_probabilities.shape[1]
    total = (scores.unsqueeze(1) + log_probabilities.to(scores)).flatten()
    lowest = total.topk(min(2 * beams, len(total))).values[-1]
    candidates = ((total >= lowest) & (total > -torch.inf)).nonzero().squeeze(1)
    candidates = candidates[total[candidates].argsort(descending=True, stable=True)][: 2 * beams]
    parent, token = candidates // vocab, candidates % vocab
    extended = Beams(parent, token, total[candidates])
    ends = token == (-1 if end is None else end)
    active = Beams(*(part[~ends][:beams] for part in extended))
    ended = Beams(*(part[:beams][ends[:beams]] for part in extended))
    return active, ended._replace(score=ended.score / length**alpha)
