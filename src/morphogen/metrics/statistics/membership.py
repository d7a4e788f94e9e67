"""Membership inference: can training items be distinguished from held-out items?"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .intervals import auc, normal_interval
from .knn import nearest_neighbours

_FALSE_POSITIVES = 0.01


class Attack(NamedTuple):
    """The area under the ROC curve (.5 is guessing), its interval, and the sensitivity at 1 % false positives.

    The sensitivity of guessing is .01, and up to .02 with few non-members; with fewer than 100 it is None.
    """

    area: float
    interval: tuple[float, float]
    sensitivity: float | None
    members: int
    non_members: int


def attack(members: Tensor, non_members: Tensor) -> Attack:
    """Attack by scores `(N,)` and `(M,)`, which are higher for members."""
    area, error = auc(members, non_members)
    sensitivity = None
    if (false := int(len(non_members) * _FALSE_POSITIVES)) >= 1:
        limit = non_members.double().sort(descending=True).values[false]  # at most 1 % lie above it
        sensitivity = float((members > limit).double().mean())
    low, high = normal_interval(area, error)
    return Attack(area, (max(0.0, low), min(1.0, high)), sensitivity, len(members), len(non_members))


def distance_attack(members: Tensor, non_members: Tensor, generated: Tensor) -> Attack:
    """Attack features `(N, d)` and `(M, d)` by the distance to the nearest generated item (Chen et al. 2020)."""
    scores = [-nearest_neighbours(x, generated, 1).distances[:, 0] for x in (members, non_members)]
    return attack(*scores)


def control_attack(members: Tensor, held_out: Tensor) -> Attack:
    """Attack with half of the held-out items in the place of generated ones, which know nothing of the members.

    It measures how members and non-members differ without any model.
    """
    half = len(held_out) // 2
    return distance_attack(members, held_out[half:], held_out[:half])
