"""Rows that are made, by any model, have the values that a user expects of their columns."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pytest

from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table import files
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.options import Options

pandas = pytest.importorskip("pandas")
ROWS = 200


def made(frame: Any, **options: Any) -> Any:
    """Return as many rows as the frame has, of the same cells and other seeds, by a codec that was stored."""
    table = files.from_frame(frame)
    codec = TableCodec.fit([table], Row, Options(**options))
    codec = TableCodec.from_state(codec.state()[0], {})
    return codec.gather([codec.decode(codec.encode(table), Noise.consecutive(0, len(table)))])


def test_numbers_and_words_in_one_column_keep_their_types() -> None:
    frame = pandas.DataFrame({"x": pandas.Series([1, "a", 2.5, True] * 50, dtype=object), "n": [1, 2] * 100})
    values = made(frame)["x"].tolist()
    assert values == frame["x"].tolist()
    assert [type(value) for value in values[:4]] == [int, str, float, bool]


@pytest.mark.parametrize("step", ["0.35", "2.35", "0.05"])
def test_decimals_of_many_digits_stay_on_their_grid(step: str) -> None:
    random, base = np.random.default_rng(0), decimal.Decimal(10**14) + decimal.Decimal("0.10")
    grid = [base + decimal.Decimal(step) * int(n) for n in random.integers(0, 4000, ROWS)]
    values = made(pandas.DataFrame({"x": grid, "n": [1, 2] * 100}))["x"].tolist()
    assert {type(value) for value in values} == {decimal.Decimal}
    assert {(value - base) % decimal.Decimal(step) for value in values} == {0}
    assert {value.as_tuple().exponent for value in values} == {-2}
    assert min(grid) <= min(values) <= max(values) <= max(grid)
    assert not set(values) <= set(grid)


def test_every_person_has_a_made_name_that_no_real_one_has() -> None:
    faker = pytest.importorskip("faker")
    make = faker.Faker("en_US")
    make.seed_instance(0)
    names = [f"{make.first_name()} {make.last_name()}" for _ in range(ROWS)]
    doctors = [f"Dr. {make.first_name()} {make.last_name()}" for _ in range(20)]
    frame = pandas.DataFrame({"patient": names, "doctor": doctors * 10, "ward": [1, 2] * 100})
    rows = made(frame)
    for column, real in (("patient", names), ("doctor", doctors)):
        assert rows[column].notna().all(), column
        assert all(len(name.split()) >= 2 for name in rows[column]), column
        assert not set(rows[column]) & set(real), column
    assert rows["patient"].nunique() > 0.9 * ROWS
    assert all(name.startswith("Dr. ") for name in rows["doctor"])


@pytest.mark.parametrize("first", [1, 1001])
def test_whole_numbers_that_count_the_rows_are_keys(first: int) -> None:
    """They are neither learned nor used again, and no two rows share one."""
    keys = list(range(first, first + ROWS))
    rows = made(pandas.DataFrame({"number": keys, "ward": [1, 2] * 100}))
    assert rows["number"].nunique() == ROWS
    assert not set(rows["number"]) & set(keys)
    assert rows["number"].dtype == np.int64


def test_a_city_of_three_rows_is_in_no_row_whatever_its_column_is() -> None:
    cities = ["Rome"] * 120 + ["Oslo"] * 77 + ["Bari"] * 3
    frame = pandas.DataFrame({"text": cities, "category": pandas.Categorical(cities), "x": [1.0, 2.0] * 100})
    rows = made(frame)
    assert "Bari" not in rows.to_csv()
    assert "Bari" not in str(rows["category"].dtype.categories.tolist())
    assert rows["text"].value_counts().to_dict() == {"Rome": 120, "Oslo": 77, "other": 3}
