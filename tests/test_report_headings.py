"""The headings of a report: counts that agree with the rows below them, and no hashes."""

from __future__ import annotations

import re
from itertools import product

import pytest

from morphogen.core.results import Check, Grade
from morphogen.evaluation.report.material import Material
from morphogen.evaluation.report.page import render
from morphogen.evaluation.results import Evaluation

HASH = "9f86d081" * 8


def report(checks: list[Check]) -> str:
    evaluation = Evaluation(
        morphogen="0.1.0",
        model=HASH,
        family="diffusion",
        modality="image",
        data="the held-out part of photos",
        extractor="own-3f9a12cd",
        seed=1,
        real=100,
        generated=100,
        train=500,
        controls={},
        seconds=9.0,
        grade=Grade(level="good", title="Hard to distinguish from real pictures", message="It is."),
        sharing=[],
        summary="No fault detected.",
        checks=checks,
        figures=[],
        not_measured=[],
    )
    return render(evaluation, Material(plural="pictures"))


def rows_labelled(page: str, label: str) -> int:
    """Return how many findings of a kind are listed, open or folded away."""
    section = page[page.index('aria-labelledby="faults"') :]
    return len(re.findall(rf">\s*{label}\s*<", section[: section.index("</section>")]))


@pytest.mark.parametrize(("faults", "differences", "passed"), [(0, 0, 8), (0, 3, 8), (1, 2, 5), (3, 0, 0)])
def test_counts_agree_with_the_rows_below_them(faults: int, differences: int, passed: int) -> None:
    """A headline of '0 of 8' above eleven rows is not understood."""
    checks = [Check(name=f"fault {at}", detected=True, message=".") for at in range(faults)]
    checks += [Check(name=f"degree {at}", detected=True, fault=False, message=".") for at in range(differences)]
    checks += [Check(name=f"passed {at}", detected=False, message=".") for at in range(passed)]
    page = report(checks)
    assert rows_labelled(page, "Fault") == faults
    assert rows_labelled(page, "Differs") == differences
    assert rows_labelled(page, "Passed") == passed
    heading = f"{faults} of {faults + passed} faults detected" if faults else f"No fault detected in {passed} checks"
    assert heading in page
    if passed:
        assert f"{passed} check{'s' if passed > 1 else ''} passed, of faults and of differences" in page


def test_no_heading_holds_a_hash() -> None:
    page = report([Check(name="memory", detected=detected, message=".") for detected in (True, False)])
    headings = re.findall(r"<(h[1-6]|title|summary)\b[^>]*>(.*?)</\1>", page, re.DOTALL)
    assert len(headings) > 4
    for (_, text), digest in product(headings, (HASH[:8], "3f9a12cd")):
        assert digest not in text
    folded = page[page.index("<details") :]
    assert HASH in folded, "details say which model it was"
    assert HASH[:8] not in page[: page.index("<details")]
