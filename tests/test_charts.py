"""Charts of a report: positions on bars, scales, distributions and curves."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from test_report import figure, shares

from morphogen.core.results import (
    Distribution,
    Figure,
)
from morphogen.evaluation.report.axes import number
from morphogen.evaluation.report.charts import bar, distribution
from morphogen.evaluation.report.courses import curve
from morphogen.evaluation.report.material import Curve
from morphogen.metrics.statistics.histogram import histogram


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (3.0, "3"),
        (-1234567.0, "−1,234,567"),
        (1234.56, "1,235"),
        (99.97, "100"),
        (9.999, "10.0"),
        (0.98765, "0.988"),
        (-0.0123, "−0.0123"),
        (0.0000412, "4.12 × 10⁻⁵"),
        (2.5e12, "2.50 × 10¹²"),
        (None, "–"),
        (math.nan, "–"),
        (-math.inf, "–"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def mark_positions(one: Figure) -> dict[str, float]:
    """Where a bar's marks are."""
    root = ElementTree.fromstring(str(bar(one)))
    positions = {}
    for element in root.iter():
        kind = element.get("class", "")
        if kind in ("baseline", "real-data", "value"):
            positions[kind] = float(element.get("x1") or element.get("cx") or "")
        if kind == "interval":
            positions["low"], positions["width"] = float(element.get("x") or ""), float(element.get("width") or "")
    return positions


LEFT, RIGHT = 24.0, 216.0  # of a bar


def at_share(share: float) -> Any:
    return pytest.approx(LEFT + share * (RIGHT - LEFT), abs=0.01)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_value_lies_where_it_stands(sign: float) -> None:
    better: Any = "higher" if sign > 0 else "lower"
    ends = {"baseline": 2.0 * sign, "real_data": 10.0 * sign, "better": better}
    at = mark_positions(
        figure(value=8.0 * sign, low=min(7.0 * sign, 9.0 * sign), high=max(7.0 * sign, 9.0 * sign), **ends)
    )
    assert at["baseline"] == LEFT
    assert at["real-data"] == RIGHT
    assert at["value"] == at_share(6 / 8)
    assert at["low"] == at_share(5 / 8)
    assert at["width"] == pytest.approx((RIGHT - LEFT) / 4, abs=0.01)
    beyond = mark_positions(figure(value=18.0 * sign, **ends))
    assert (beyond["baseline"], beyond["real-data"], beyond["value"]) == (LEFT, at_share(0.5), RIGHT)
    worse = mark_positions(figure(value=-6.0 * sign, **ends))
    assert (worse["value"], worse["baseline"], worse["real-data"]) == (LEFT, at_share(0.5), RIGHT)


def test_a_wide_range_is_logarithmic() -> None:
    one = figure(value=10.0, low=0.0, high=100.0, baseline=1000.0, real_data=1.0)
    at = mark_positions(one)
    assert (at["baseline"], at["real-data"], at["value"]) == (LEFT, RIGHT, at_share(2 / 3))
    assert at["low"] == at_share(1 / 3)
    assert at["low"] + at["width"] == 240 - 6  # what has no logarithm lies at the edge
    assert "log scale" in bar(one)
    assert "log scale" not in bar(figure(value=10.0, baseline=100.0, real_data=1.0))
    assert "log scale" not in bar(figure(value=10.0, baseline=1000.0, real_data=-1.0))


def test_bars_with_one_end_or_none() -> None:
    assert bar(figure(low=1.0, high=9.0)) == ""
    alone = figure(value=5.0, low=4.5, high=5.5, real_data=4.4)
    assert mark_positions(alone)["real-data"] == at_share(1.1 / 5.5)  # zero is the better end
    assert mark_positions(alone)["value"] == at_share(0.5 / 5.5)
    assert ">0</text>" in bar(alone)
    assert mark_positions(figure(value=5.0, baseline=10.0))["value"] == at_share(0.5)
    assert mark_positions(figure(value=0.5, real_data=0.8, better="near"))["value"] == at_share(5 / 8)
    same = mark_positions(figure(value=5.0, real_data=2.0, baseline=2.0))
    assert same["real-data"] == same["baseline"] == at_share(3 / 5)
    assert set(mark_positions(figure(value=0.0, real_data=0.0, baseline=0.0)).values()) == {120.0}


def test_right_is_better_even_where_the_baseline_is_better_than_real_data() -> None:
    one = figure(value=0.985, baseline=1.0, real_data=0.99, better="higher")
    assert mark_positions(one)["value"] < mark_positions(one)["real-data"] < mark_positions(one)["baseline"]
    assert "the baseline is better" in bar(one)
    near = mark_positions(figure(value=0.8, baseline=1.0, real_data=0.6, better="near"))
    assert (near["baseline"], near["value"], near["real-data"]) == (LEFT, at_share(0.5), RIGHT)


def test_bars_of_a_distribution_are_as_long_as_its_shares() -> None:
    numbers = ElementTree.fromstring(
        str(distribution(Distribution("age", ["1", "2"], shares(0.2, 0.8), shares(0, 0.4))))
    )
    heights = {
        kind: [float(r.get("height") or "") for r in numbers.iter("rect") if r.get("class") == kind]
        for kind in ("real", "generated")
    }
    assert heights["real"][1] == pytest.approx(4 * heights["real"][0], abs=0.1)
    assert heights["generated"] == [0, pytest.approx(heights["real"][1] / 2, abs=0.1)]
    assert distribution(Distribution("none", [], shares(), shares())) == ""
    many = distribution(Distribution("kind", [f"kind {at}" for at in range(40)], *[np.full(40, 1 / 40)] * 2))
    assert "29 others: real 0.725, generated 0.725" in many
    assert "all" in distribution(Distribution("zero", ["all"], shares(0), shares(0)))


def test_a_curve_breaks_at_values_that_are_not_finite() -> None:
    broken = Curve("loss", [0, 1, 2, 3, 4], [4.0, 3.0, math.nan, 1.0, 0.0])
    lines = re.findall(r'points="([^"]+)"', curve(broken))
    assert [len(line.split()) for line in lines] == [2, 2]
    heights = [float(point.split(",")[1]) for line in lines for point in line.split()]
    assert heights[0] - heights[1] == pytest.approx(heights[2] - heights[3], abs=0.11)
    assert curve(Curve("none", [], [])) == ""
    assert "polyline" in curve(Curve("one", [1.0], [3.0]))
    assert "log scale" in curve(Curve("wide", [0, 1], [1000.0, 1.0]))


@pytest.mark.parametrize(("first", "last"), [(0, 23), (1, 12), (0, 6), (1970, 2024), (5, 5), (-40, 60), (1, 31)])
def test_bins_of_whole_numbers_leave_no_gaps(first: int, last: int) -> None:
    values = np.repeat(np.arange(first, last + 1), 50)
    chart = histogram("part", values, values + 0)
    step = -(-(last - first + 1) // 24)
    assert chart.bins == [str(one) for one in range(first, last + 1, step)]
    assert sum(chart.real) == pytest.approx(1)
    assert min(chart.real) > 0
    assert np.ptp(chart.real[:-1] if len(chart.real) > 1 else chart.real) == pytest.approx(0)


def test_bins_of_fractions_are_equal_over_the_range() -> None:
    values = np.linspace(0, 1, 24_000)
    chart = histogram("share", values, values)
    assert len(chart.bins) == 24
    assert chart.real == pytest.approx(np.full(24, 1 / 24), abs=1e-3)
