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
_MARGIN = 0.03  # of an area above guessing, below which an attack is of no use
_SURE = 2.58  # standard errors above guessing and above the control: 1 of 200 attacks that know nothing are
_HARMFUL = 0.65  # area that has to be excluded


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
    results.checks.append(attack_check(MEMBERSHIP, "distance to generated items", attack, control))


def attack_check(name: str, by: str, attack: Attack, control: Attack | None) -> Check:
    """Return whether an attack succeeds, significantly and better than where there is nothing to find.

    It is unclear where it would be at the usual level, or where the items are too few to exclude a success.
    """
    error = (attack.interval[1] - attack.interval[0]) / (2 * 1.96)
    above, noticeable = attack.area - max(0.5, control.area if control else 0.5), attack.area > 0.5 + _MARGIN
    detected = noticeable and above > _SURE * error
    unclear = not detected and ((noticeable and above > 1.96 * error) or attack.interval[1] > _HARMFUL)
    return Check(
        name=name,
        detected=detected,
        privacy=True,
        unclear=unclear,
        message=f"By {by}, training items are distinguished from held-out ones with an area under the ROC curve of "
        f"{attack.area:.3f} ({attack.interval[0]:.2f} to {attack.interval[1]:.2f}; guessing: .5"
        + (f"; control without a model: {control.area:.3f})" if control else ")")
        + (f"; {attack.non_members} held-out items are too few to be sure." if unclear else "."),
    )


def one_finding(checks: list[Check]) -> list[Check]:
    """Return the checks with all attacks on membership as one: what one finds, another that fails does not undo."""
    attacks = [check for check in checks if check.name.startswith(MEMBERSHIP)]
    if len(attacks) < 2:
        return checks
    detected = any(check.detected for check in attacks)
    strongest = sorted(attacks, key=lambda check: (not check.detected, not check.unclear))
    whole = strongest[0].model_copy(
        update={
            "name": MEMBERSHIP,
            "unclear": not detected and any(check.unclear for check in attacks),
            "message": " ".join(check.message for check in strongest),
        }
    )
    return [whole if check is attacks[0] else check for check in checks if check not in attacks[1:]]


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
