"""Membership inference: does the model reveal which items it was trained on?"""

from __future__ import annotations

from typing import Any

from ..core.judge import Comparison
from ..core.results import Check, Figure, Results
from ..metrics.statistics.intervals import share_interval
from ..metrics.statistics.membership import Attack, control_attack, distance_attack
from ..metrics.statistics.order import content_order

MEMBERSHIP = "membership inference"
_LEAST = 20  # items of each half
_MARGIN = 0.02  # of an area above that of the control


def membership_by_distance(comparison: Comparison[Any], results: Results) -> None:
    """Attack as many training items as held-out ones by distance, and do the same where there is nothing to find."""
    assert comparison.unseen_train is not None
    unseen, held_out = comparison.unseen_train.features, comparison.real.features
    members = unseen[content_order(unseen)][: len(held_out)]
    attack = distance_attack(members, held_out, comparison.generated.features)
    control = None
    if len(held_out) < 2 * _LEAST:
        results.skip(f"needs {2 * _LEAST} held-out items", f"{MEMBERSHIP} by distance, on a control set")
    else:
        control = control_attack(members, held_out)
    results.figures += attack_figures(comparison, "distance", attack, control)
    if comparison.distribution_shift:
        results.skip(comparison.distribution_shift, MEMBERSHIP)
        return
    limit = max(0.5, control.interval[1] if control else 0.5) + _MARGIN
    results.checks.append(
        Check(
            name=MEMBERSHIP,
            detected=attack.interval[0] > limit,
            message="By distance to generated items, training items are distinguished from held-out ones with an area "
            f"under the ROC curve of {attack.area:.3f} (guessing: .5"
            + (f"; control without a model: {control.area:.3f})." if control else ")."),
        )
    )


def attack_figures(comparison: Comparison[Any], by: str, attack: Attack, control: Attack | None) -> list[Figure]:
    """Return the area under the ROC curve of an attack and, where there are enough items, its sensitivity."""
    by_distance = by == "distance"
    replaced = "generated" if by_distance else "training"
    area = Figure(
        name=f"membership AUC by {by}",
        key=f"membership_{by}",
        group="privacy",
        value=attack.area,
        low=attack.interval[0],
        high=attack.interval[1],
        real_data=control.area if control else 0.5,
        better="lower",
        extractor=comparison.extractor.name if by_distance else None,
        real=attack.non_members,
        generated=len(comparison.generated) if by_distance else 0,
        seed=comparison.seed,
        meaning=f"How well {by} distinguishes {attack.members:,} training from {attack.non_members:,} held-out items: "
        ".5 is guessing, 1 certainty."
        + (f" Real data: half of the held-out items in the place of {replaced} ones." if control else ""),
    )
    if attack.sensitivity is None:
        return [area]
    low, high = share_interval(round(attack.sensitivity * attack.members), attack.members)
    sensitivity = {
        "name": f"membership sensitivity at 1 % false positives, by {by}",
        "key": f"membership_{by}_sensitivity",
        "value": attack.sensitivity,
        "low": low,
        "high": high,
        "real_data": control.sensitivity if control and control.sensitivity is not None else 0.01,
        "meaning": "Share of training items that the attack identifies at 1 % false positives: .01 is guessing. Some "
        "may be exposed although the area is near .5.",
    }
    return [area, area.model_copy(update=sensitivity)]
