"""The grade, what may be shared, and the summary: by what was measured, whatever measured it."""

from __future__ import annotations

import pytest

from morphogen.core.results import Check, Figure, Level, NotMeasured
from morphogen.evaluation.copying import COPIES, MEMORISATION
from morphogen.evaluation.grade import Likeness, level_of
from morphogen.evaluation.likelihood import BY_LIKELIHOOD
from morphogen.evaluation.privacy import MEMBERSHIP, attack_check, one_finding
from morphogen.evaluation.sharing import sharing
from morphogen.metrics.statistics.intervals import auc_error
from morphogen.metrics.statistics.membership import Attack


def area(value: float, half: float = 0.03, real_data: float = 0.5) -> Figure:
    return Figure(
        name="C2ST AUC",
        key="two_sample",
        group="fidelity",
        value=value,
        low=value - half,
        high=value + half,
        real_data=real_data,
        better="lower",
        real=500,
        generated=500,
        seed=0,
        meaning="",
    )


@pytest.mark.parametrize(
    ("area", "position", "level"),
    [
        (area(0.50), 0.05, "good"),
        (area(0.50, half=0.25), 0.05, "unclear"),  # of 12 items
        (area(0.50, half=0.25), None, "unclear"),
        (area(0.50), 1.50, "poor"),  # two of ten classes missing
        (area(0.84), 0.00, "fair"),
        (area(0.99), 0.10, "fair"),
        (area(1.00), 0.30, "poor"),
        (area(1.00), 8.50, "poor"),  # blurred
        (area(1.00), None, "poor"),
        (area(0.50), None, "good"),
        (area(0.72, real_data=0.7), 0.0, "good"),  # training items differ as much
        (None, None, "unclear"),
        (None, 0.6, "poor"),
    ],
)
def test_the_level_follows_both_distances(area: Figure | None, position: float | None, level: Level) -> None:
    assert level_of(Likeness(area, position)) == level


def attack(value: float, count: int) -> Attack:
    error = auc_error(value, count, count)
    return Attack(value, (value - 1.96 * error, value + 1.96 * error), None, count, count)


@pytest.mark.parametrize(
    ("value", "count", "detected", "unclear"),
    [
        (0.63, 64, True, False),
        (0.63, 40, False, True),
        (0.50, 25, False, True),  # too few to exclude .65
        (0.50, 500, False, False),
        (0.52, 10_000, False, False),  # significant, and of no use
    ],
)
def test_an_attack_that_may_succeed_is_not_passed(value: float, count: int, detected: bool, unclear: bool) -> None:
    check = attack_check(MEMBERSHIP, "likelihood", attack(value, count), None)
    assert (check.detected, check.unclear) == (detected, unclear)


def test_attacks_that_disagree_are_one_finding() -> None:
    failed = attack_check(MEMBERSHIP, "distance", attack(0.5, 500), None)
    succeeded = attack_check(BY_LIKELIHOOD, "likelihood", attack(0.7, 500), None)
    other = Check(name=COPIES, detected=False, message="None.")
    whole, same = one_finding([failed, other, succeeded])
    assert (whole.name, whole.detected) == (MEMBERSHIP, True)
    assert whole.message.index("0.700") < whole.message.index("0.500")
    assert same is other


def test_items_and_the_model_are_shared_by_different_attacks() -> None:
    passed = [
        Check(name=name, detected=False, privacy=True, message=".") for name in (COPIES, MEMORISATION, MEMBERSHIP)
    ]
    by_likelihood = Check(name=BY_LIKELIHOOD, detected=True, privacy=True, message=".")

    def answers(*checks: Check, missing: str = "", stores: tuple[str, ...] = ()) -> list[str]:
        reasons = [NotMeasured(name=missing, reason="it has none")] if missing else []
        return [one.answer for one in sharing(checks, reasons, plural="rows", generated=9, stores=stores)]

    assert answers(*passed) == ["nothing found", "nothing found"]
    assert answers(*passed, by_likelihood) == ["nothing found", "no"]
    assert answers(*passed, missing=BY_LIKELIHOOD) == ["nothing found", "unclear"]
    assert answers(*passed, stores=("counts of words",)) == ["nothing found", "no"]
    assert answers(*passed[1:], missing=COPIES) == ["unclear", "unclear"]
    copied = passed[0].model_copy(update={"detected": True})
    assert answers(copied, *passed[1:]) == ["no", "no"]
