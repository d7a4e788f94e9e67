"""Membership inference: whether the model tells who was in the training data."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .chance import around, auc
from .neighbours import nearest

_FALSE = 0.01  # of non-members, taken for members


class Attack(NamedTuple):
    """The area under the curve (half is a coin), its interval, and members found at 1 % of false alarms.

    `sensitivity` of a coin is .01, and up to .02 with few non-members; with fewer than 100 there is none.
    """

    area: float
    interval: tuple[float, float]
    sensitivity: float | None
    members: int
    others: int


def attack(members: Tensor, others: Tensor) -> Attack:
    """What scores `(N,)` and `(M,)` give away, higher for members."""
    area, error = auc(members, others)
    sensitivity = None
    if (false := int(len(others) * _FALSE)) >= 1:
        limit = others.double().sort(descending=True).values[false]  # above which there are no more than 1 %
        sensitivity = float((members > limit).double().mean())
    low, high = around(area, error)
    return Attack(area, (max(0.0, low), min(1.0, high)), sensitivity, len(members), len(others))


def by_distance(members: Tensor, others: Tensor, generated: Tensor) -> Attack:
    """By how near the nearest generated item is to features `(N, d)` and `(M, d)` (Chen et al. 2020)."""
    scores = [-nearest(x, generated, 1).distances[:, 0] for x in (members, others)]
    return attack(*scores)


def control(members: Tensor, held_out: Tensor) -> Attack:
    """The same with half of the held-out items as if they were generated: they know nothing of who was in.

    What it finds is how members and others differ by themselves, or how features that were trained on members do.
    """
    half = len(held_out) // 2
    return by_distance(members, held_out[half:], held_out[:half])
