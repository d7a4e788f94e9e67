"""The consensus of imputations: modes and lower medians of cells, of the draws' own values and types."""

from __future__ import annotations

import datetime
from collections import Counter
from decimal import Decimal

import pyarrow as arrow
from hypothesis import given
from hypothesis import strategies as st

from .consensus import consensus

DAY = datetime.date(2024, 5, 1)


def test_cells_are_the_mode_or_the_lower_median() -> None:
    def draw(number: int | None, text: str | None, day: int) -> arrow.Table:
        date = DAY + datetime.timedelta(days=day)
        return arrow.table(
            {"n": arrow.array([number, 7]), "t": [text, "known"], "d": [date, DAY], "m": [Decimal(day), Decimal(2)]}
        )

    draws = [draw(3, "b", 9), draw(1, "a", 0), draw(2, "b", 4), draw(None, None, 5)]
    result = consensus(draws)
    assert result.schema == draws[0].schema
    assert result.to_pylist() == [
        {"n": 2, "t": "b", "d": DAY + datetime.timedelta(days=4), "m": Decimal(4)},
        {"n": 7, "t": "known", "d": DAY, "m": Decimal(2)},
    ]
    assert consensus([draw(None, None, 0), draw(None, None, 0), draw(1, "a", 0)]).to_pylist()[0]["n"] is None


@given(st.lists(st.lists(st.one_of(st.none(), st.sampled_from("abc")), min_size=3, max_size=3), min_size=1, max_size=9))
def test_a_mode_is_as_frequent_as_any_value(rows: list[list[str | None]]) -> None:
    draws = [arrow.table({"x": arrow.array(values, arrow.string())}) for values in rows]
    for row, value in enumerate(consensus(draws).column("x").to_pylist()):
        counts = Counter(values[row] for values in rows)
        assert counts[value] == max(counts.values())
