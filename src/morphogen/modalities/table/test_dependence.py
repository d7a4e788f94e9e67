"""Pairs of columns: a lost daily cycle and a broken order are seen, and real rows raise no alarm."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as arrow

from morphogen.core.results import Results
from morphogen.modalities.table.comparable import Tables
from morphogen.modalities.table.measure_pairs import DEPENDENCES, ORDERS, measure_pairs
from morphogen.modalities.table.statistics.date_parts import find_date_parts, with_date_parts
from morphogen.modalities.table.statistics.dependence import broken_orders, compare_dependences, differs


def weather(seed: int, count: int = 1500) -> Any:
    """Temperatures with a daily and a yearly cycle, and dew points that are never above them."""
    random = np.random.default_rng(seed)
    times = [
        datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=int(at)) for at in random.integers(0, 17_000, count)
    ]
    hours, days = np.array([one.hour for one in times]), np.array([one.timetuple().tm_yday for one in times])
    warm = (
        12 + 4 * np.sin((hours - 9) / 24 * 2 * np.pi) - 10 * np.cos(days / 366 * 2 * np.pi) + random.normal(0, 3, count)
    )
    dew = warm - random.gamma(2, 2, count)
    return arrow.table(
        {"time": times, "warm": warm.round(1), "dew": dew.round(1), "wind": random.choice(["N", "S"], count)}
    )


def permuted_hours(table: Any) -> Any:
    """Exchange the hours between rows, and keep the days."""
    times = table.column("time").to_pylist()
    order = np.random.default_rng(5).permutation(len(times))
    mixed = [one.replace(hour=times[at].hour) for one, at in zip(times, order, strict=True)]
    return table.set_column(0, "time", arrow.array(mixed, table.schema.field("time").type))


def different(real: Any, other: Any) -> set[tuple[str, str]]:
    parts = find_date_parts(real)
    pairs = compare_dependences(*(with_date_parts(table, parts) for table in (real, other)))
    return {(one.first, one.second) for one in pairs if differs(one, len(pairs))}


def test_dates_have_the_parts_that_vary() -> None:
    day = datetime.date(2020, 2, 3)
    table = arrow.table(
        {"a": [day, day + datetime.timedelta(31)], "b": [datetime.time(5), datetime.time(6)], "c": [1, 2]}
    )
    parts = find_date_parts(table)
    assert [one.name for one in parts] == ["a · weekday", "a · month", "b · hour"]
    assert with_date_parts(table, parts).column("a · month").to_pylist() == [2, 3]


def test_real_rows_raise_no_alarm() -> None:
    for seed in range(8):
        real, other = weather(2 * seed, 600), weather(2 * seed + 1, 600)
        assert not different(real, other)
        assert not broken_orders(real, other)


def test_a_lost_daily_cycle_is_seen() -> None:
    real, other = weather(0), permuted_hours(weather(1))
    assert ("warm", "time · hour") in different(real, other)
    assert ("warm", "dew") not in different(real, other)


def test_a_broken_order_is_seen() -> None:
    real, other = weather(0), weather(1)
    dew = other.column("dew").to_numpy().copy()
    dew[:30] = other.column("warm").to_numpy()[:30] + 1  # 2 % of the rows
    (broken,) = broken_orders(real, other.set_column(2, "dew", arrow.array(dew)))
    assert (broken.low, broken.high) == ("dew", "warm")
    assert 0.019 < broken.share < 0.021


def test_parts_of_dates_have_no_order() -> None:
    """The hours of two dates are equal in real rows; no constraint on columns could ask for that."""
    random = np.random.default_rng(0)
    begin = np.datetime64("2024-01-01", "s") + random.integers(0, 400 * 24, 500).astype("timedelta64[h]")
    days = random.integers(1, 9, 500).astype("timedelta64[D]")
    hours = random.integers(-11, 12, 500).astype("timedelta64[h]")
    real, other = arrow.table({"a": begin, "b": begin + days}), arrow.table({"a": begin, "b": begin + days + hours})
    parts = find_date_parts(real)
    one, two = (with_date_parts(table, parts) for table in (real, other))
    tables = Tables(one, two, None, None, parts)
    results = Results()
    measure_pairs(tables, results)
    orders = {check.name: check.detected for check in results.checks}
    assert orders == {DEPENDENCES: True, ORDERS: False}
