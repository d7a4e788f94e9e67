"""The seconds that are kept for what follows the last step."""

from __future__ import annotations

import math

import pytest

from .budget import Budget, Reserve


def test_training_ends_when_the_rest_still_has_its_time() -> None:
    budget = Budget(seconds=100.0)
    reserve = Reserve(budget, calibration=4.0)
    assert budget.progress(10, 50.0) == 0.5
    for name, seconds in (("saving", 1.0), ("validation", 3.0), ("validation", 2.0)):
        reserve.measured(name, seconds)
    assert budget.reserve == 8.0, "the longest validation counts"
    assert budget.training_seconds == 92.0
    assert budget.progress(10, 46.0) == pytest.approx(0.5)
    reserve.measured("saving", 60.0)
    assert budget.training_seconds >= 80.0, "what follows cannot take most of the budget"


def test_counted_steps_need_no_reserve() -> None:
    budget = Budget(steps=10)
    Reserve(budget, calibration=0.0).measured("saving", 5.0)
    assert (budget.progress(5, 1e9), budget.training_seconds) == (0.5, math.inf)
