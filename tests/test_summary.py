"""The summary of an evaluation, and the comparison of tables column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as arrow
import pytest

from morphogen.core.errors import UserError
from morphogen.core.results import Check, Figure
from morphogen.evaluation.summary import summarise
from morphogen.modalities.table.statistics import column_quality


def test_columns_have_the_shape_and_trend_of_their_table() -> None:
    random = np.random.default_rng(0)

    def drawn(count: int) -> Any:
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

    real, synthetic = drawn(400), drawn(300)
    found = column_quality.compare_columns(real, synthetic)
    assert list(found) == real.column_names
    assert np.mean([shape for shape, _ in found.values()]) == pytest.approx(column_quality.shape(real, synthetic))
    assert found["a"][0] > 0.85
    assert found["gone"][0] == 1
    for name, (shape, trend) in column_quality.compare_columns(real, real).items():
        assert shape == 1
        assert trend == pytest.approx(1), name
    alone = column_quality.compare_columns(real.select(["a"]), synthetic.select(["a"]))
    assert alone["a"] == (found["a"][0], None)
    permuted = synthetic.set_column(1, "b", synthetic.column("b").take(random.permutation(300)))
    lost = {name: found[name][1] - trend for name, (_, trend) in column_quality.compare_columns(real, permuted).items()}  # type: ignore[operator]
    assert max(lost, key=lambda name: lost[name]) == "b"
    with pytest.raises(UserError, match="compare tables with the same columns"):
        column_quality.compare_columns(real, synthetic.select(["a"]))


def figure(value: float, real_data: float | None = 1.0, baseline: float | None = 11.0) -> Figure:
    return Figure(
        name="FD[x]",
        key="frechet",
        group="fidelity",
        value=value,
        real_data=real_data,
        baseline=baseline,
        better="lower",
        real=9,
        generated=9,
        seed=0,
        meaning="",
    )


def check(name: str, detected: bool, fault: bool = True) -> Check:
    return Check(name=name, detected=detected, fault=fault, message=f"{name} was {'' if detected else 'not '}seen.")


def test_a_summary_begins_with_faults() -> None:
    checks = [check("told", True, fault=False), check("copies", True), check("repeats", False)]
    said = summarise(checks, [figure(2)], real=1234)
    assert said.startswith("1 fault detected: copies. copies was seen. told was seen.")
    assert "repeats" not in said
    assert "10.0% of the way" in said
    assert summarise([*checks, check("more", True)], [], real=9).startswith("2 faults detected: copies, more.")


def test_a_summary_without_faults_counts_the_checks() -> None:
    checks = [check("told", False, fault=False), check("copies", False), check("repeats", False)]
    said = summarise(checks, [], real=1234)
    assert said.startswith("No fault detected in 2 checks. Generated items cannot be distinguished from real ones")
    assert "1,234 held-out items" in said
    assert summarise([], [], real=9).startswith("The model could not be judged")
    assert summarise([], [], real=9, shift="held-out items differ").endswith("Held-out items differ.")


@pytest.mark.parametrize(("value", "said"), [(0.5, "0.0%"), (1, "0.0%"), (6, "50.0%"), (31, "300.0%")])
def test_the_position_of_a_distance(value: float, said: str) -> None:
    assert f"at {said} of the way" in summarise([], [figure(value)], real=9)


@pytest.mark.parametrize("bounds", [(None, 3.0), (1.0, None), (3.0, 3.0), (4.0, 3.0)])
def test_without_real_data_below_the_baseline_there_is_no_position(bounds: tuple[float | None, float | None]) -> None:
    assert "of the way" not in summarise([], [figure(2, *bounds)], real=9)
