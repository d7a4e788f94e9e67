"""The grade, what may be shared, and the summary: by what was measured, whatever measured it."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.core.results import Check, Figure, Level, NotMeasured, Results
from morphogen.evaluation.copying import COPIES, MEMORISATION
from morphogen.evaluation.grade import Likeness, grade, level_of
from morphogen.evaluation.likelihood import BY_LIKELIHOOD
from morphogen.evaluation.privacy import MEMBERSHIP, attack_check, one_finding
from morphogen.evaluation.relative import KEY
from morphogen.evaluation.sharing import sharing
from morphogen.metrics.statistics.intervals import auc_error
from morphogen.metrics.statistics.membership import Attack


def figure(key: str, value: float, low: float | None, high: float | None, real_data: float) -> Figure:
    return Figure(
        name=key,
        key=key,
        group="fidelity",
        value=value,
        low=low,
        high=high,
        real_data=real_data,
        better="lower",
        real=500,
        generated=500,
        seed=0,
        meaning="",
    )


def area(value: float, half: float = 0.03, real_data: float = 0.5) -> Figure:
    return figure("two_sample", value, max(0.0, value - half), min(1.0, value + half), real_data)


def at(value: float, half: float | None = 0.03) -> Figure:
    """Return a relative distance with its interval; None: there is none."""
    low, high = (None, None) if half is None else (max(0.0, value - half), value + half)
    return figure(KEY, value, low, high, 0.0)


HARD, TOO_FEW = "Hard to distinguish from real pictures", "Too few pictures to judge how close they are to real ones"
CASES: list[tuple[Figure | None, Figure | None, Level, str]] = [
    (area(0.50), at(0.05), "good", HARD),
    (area(0.50), None, "good", HARD),
    (area(0.50, half=0.25), at(0.05), "unclear", TOO_FEW),  # of 12 items
    (area(0.50, half=0.25), None, "unclear", TOO_FEW),
    (area(0.66, half=0.17), at(0.05), "unclear", TOO_FEW),  # distinguishable, unless by chance
    (area(0.50), at(1.50), "poor", "Far from real pictures as a whole, though hard to distinguish one by one"),
    (area(0.84), at(0.00), "fair", "Close to real pictures, but distinguishable"),
    (area(0.84), at(0.35), "fair", "Distinguishable from real pictures, and some way from them"),
    (area(0.50), at(0.35), "fair", "Some way from real pictures as a whole, though hard to distinguish one by one"),
    (area(0.50), at(0.35, half=0.4), "unclear", TOO_FEW),
    (area(0.50), at(0.10, half=0.5), "unclear", TOO_FEW),
    (area(0.84), at(0.51, half=0.05), "fair", "Distinguishable from real pictures, and some way from them"),
    (area(0.98), at(0.10), "fair", "Nearly always recognisable as generated, though close to real pictures as a whole"),
    (area(1.00), at(0.10), "fair", "Always recognisable as generated, though close to real pictures as a whole"),
    (area(1.00), at(0.35), "poor", "Always recognisable as generated, and some way from real pictures as a whole"),
    (
        area(1.00),
        at(0.48, half=0.3),
        "unclear",
        "Always recognisable as generated; too few pictures to say how far from real ones",
    ),
    (
        area(1.00),
        at(0.48, half=None),
        "unclear",
        "Always recognisable as generated; too few pictures to say how far from real ones",
    ),
    (area(1.00), at(8.50, half=2), "poor", "Far from real pictures"),  # blurred
    (area(1.00), None, "poor", "Always recognisable as generated"),
    (area(0.72, real_data=0.7), at(0.0), "good", "As close to held-out pictures as training pictures are"),
    (
        area(1.00, real_data=0.88),
        at(0.0),
        "fair",
        "Always recognisable as generated, though close to real pictures as a whole",
    ),
    (
        area(1.00, half=0, real_data=1.0),
        at(0.0),
        "unclear",
        "Held-out pictures differ too much from training pictures to judge",
    ),
    (area(1.00, half=0, real_data=1.0), at(2.0), "poor", "Far from real pictures"),
    (None, None, "unclear", TOO_FEW),
    (None, at(0.6), "poor", "Far from real pictures"),
    (None, at(0.6, half=0.2), "unclear", TOO_FEW),
]


@pytest.mark.parametrize(("area", "position", "level", "title"), CASES)
def test_level_and_title_follow_both_distances(
    area: Figure | None, position: Figure | None, level: Level, title: str
) -> None:
    likeness = Likeness(area, position)
    assert level_of(likeness) == level
    graded = grade(Results(figures=[one for one in likeness if one]), "picture", "pictures")
    assert (graded.level, graded.title) == (level, title)


@pytest.mark.parametrize("real_data", [0.5, 0.7, 0.9])
def test_a_title_never_contradicts_its_numbers(real_data: float) -> None:
    for value in np.linspace(0.4, 1, 25):
        for half in (0.005, 0.05, 0.2):
            for position in (None, *(at(place, half) for place in np.linspace(0, 1.2, 25)), at(0.3, half=None)):
                graded = grade(
                    Results(figures=[area(value, half, real_data), *filter(None, [position])]), "row", "rows"
                )
                if value >= 0.995:
                    assert graded.level != "good"
                    assert graded.title.startswith(("Always recognisable", "Far from"))
                if graded.title.startswith("Always"):
                    assert "in 100\N{NO-BREAK SPACE}% of cases" in graded.message
                if graded.title.startswith("Hard"):
                    assert value <= 0.65
                if graded.title.startswith("Close") and position:
                    assert position.value <= 0.25
                if "far from" in graded.title.casefold() and position and graded.level == "poor":
                    assert (position.low or 0.0) >= 0.5
                if "distinguishable" in graded.title.casefold():
                    assert value - half > 0.5


@pytest.mark.parametrize(("half", "words"), [(0.3, "60\N{NO-BREAK SPACE}% of the way"), (4.0, "cannot be told")])
def test_a_distance_whose_interval_excludes_nothing_is_not_told(half: float, words: str) -> None:
    results = Results()
    results.figures += [area(0.84), at(0.60, half=half)]
    assert words in grade(results, "picture", "pictures").message


def test_a_classifier_of_few_items_makes_nothing_good() -> None:
    few = area(0.5).model_copy(update={"real": 29})
    for position, level in ((at(0.05), "unclear"), (at(3.0), "poor")):
        graded = grade(Results(figures=[few, position]), "picture", "pictures")
        assert graded.level == level
        assert "hard to distinguish" not in graded.title.casefold()
        assert "too few for it to learn from" in graded.message


def test_faults_and_differences_stand_in_the_title() -> None:
    copies = Check(name=COPIES, detected=True, message=".")
    columns = Check(name="columns that differ", detected=True, fault=False, message=".")

    def graded(*checks: Check, area: Figure) -> tuple[str, str]:
        whole = grade(Results(figures=[area, at(0.1)], checks=list(checks)), "row", "rows")
        return whole.level, whole.title

    good, recognised = area(0.5), area(1.0)
    assert graded(copies, area=good) == (
        "poor",
        "Hard to distinguish from real rows, but with 1 fault: copies of training items",
    )
    assert graded(columns, area=good) == ("fair", "Close to real rows, except for columns that differ")
    assert graded(copies, area=recognised) == (
        "poor",
        "Always recognisable as generated, with 1 fault: copies of training items",
    )
    assert graded(copies, area=area(0.5, half=0.25)) == ("poor", "1 fault: copies of training items")


def test_a_quick_grade_says_that_it_is_a_first_look() -> None:
    results = Results(figures=[area(0.5), at(0.1)])
    quick, whole = grade(results, "row", "rows", quick=True), grade(results, "row", "rows")
    assert quick.title == f"{whole.title} at first look"
    assert "first look" in quick.message
    assert "first look" not in whole.message


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
