"""The summary of an evaluation, and the comparison of tables column by column."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pyarrow as arrow
import pytest

from morphogen.core.errors import UserError
from morphogen.core.results import Check, Grade, Sharing
from morphogen.evaluation.summary import summarise
from morphogen.modalities.table.statistics import column_quality


def test_columns_have_the_shape_and_trend_of_their_table() -> None:
    random = np.random.default_rng(0)

    def sample(count: int) -> Any:
        a = random.normal(size=count)
        hours = random.integers(0, 86_400, count).astype(np.int32)
        return arrow.table(
            {
                "a": a,
                "b": a + random.normal(size=count),
                "c": np.where(a > 0, "high", "low"),
                "at": arrow.array(hours).cast(arrow.time32("s")),
                "day": arrow.array(hours // 1000).cast(arrow.date32()),
                "gone": arrow.nulls(count, arrow.float64()),
            }
        )

    real, synthetic = sample(400), sample(300)
    columns = column_quality.compare_columns(real, synthetic)
    assert list(columns) == real.column_names
    assert np.mean([shape for shape, _ in columns.values()]) == pytest.approx(column_quality.shape(real, synthetic))
    assert columns["a"][0] > 0.85
    assert columns["gone"][0] == 1
    for name, (shape, trend) in column_quality.compare_columns(real, real).items():
        assert shape == 1
        assert trend == pytest.approx(1), name
    alone = column_quality.compare_columns(real.select(["a"]), synthetic.select(["a"]))
    assert alone["a"] == (columns["a"][0], None)
    permuted = synthetic.set_column(1, "b", synthetic.column("b").take(random.permutation(300)))
    damaged = column_quality.compare_columns(real, permuted)
    lost_trend = {name: columns[name][1] - trend for name, (_, trend) in damaged.items()}
    assert max(lost_trend, key=lambda name: lost_trend[name]) == "b"
    with pytest.raises(UserError, match="compare tables with the same columns"):
        column_quality.compare_columns(real, synthetic.select(["a"]))


GRADE = Grade(level="fair", title="Similar to real rows", message="A classifier picks it in 70 % of cases.")
SHARING = [
    Sharing(what=what, answer="no", message=f"No: {what}.", attacked=[], not_attacked=[], advice="")
    for what in get_args(Sharing.model_fields["what"].annotation)
]


def check(name: str, detected: bool, fault: bool = True) -> Check:
    return Check(name=name, detected=detected, fault=fault, message=f"{name} was {'' if detected else 'not '}seen.")


def lines(*checks: Check, note: str = "") -> list[str]:
    return summarise(GRADE, checks, SHARING, real=1234, plural="rows", notes=[note]).splitlines()


def test_a_summary_has_five_lines() -> None:
    checks = [check("two-sample test", True, fault=False), check("copies", True), check("repeats", False)]
    assert lines(*checks) == [
        "Similar to real rows. A classifier picks it in 70 % of cases.",
        "1 of 2 faults detected. copies was seen.",
        "two-sample test was seen.",
        "Share the rows? No: items.",
        "Share the model? No: model.",
    ]
    more = [check(name, True) for name in ("modes", "spans", "members")]
    assert lines(*checks, *more)[1] == "4 of 5 faults detected. copies was seen. modes was seen. Also: spans, members."


def test_a_summary_without_faults_counts_the_checks() -> None:
    checks = [check("two-sample test", False, fault=False), check("copies", False), check("repeats", False)]
    assert lines(*checks)[1:3] == [
        "No fault detected in 2 checks.",
        "No significant difference from real items, with 1,234 held-out items.",
    ]
    doubtful = checks[1].model_copy(update={"unclear": True})
    assert lines(doubtful)[1] == "No fault detected in 1 checks; copies cannot be excluded."
    assert lines()[1].startswith("The model could not be judged")
    assert lines(note="held-out items differ")[2] == "Held-out items differ."
