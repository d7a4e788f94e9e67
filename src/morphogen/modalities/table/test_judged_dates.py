"""Dates that follow each other are judged by how far they are apart, and by their order."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch

from morphogen.core.judge import Comparison, Sample
from morphogen.core.results import Results
from morphogen.core.space import Row
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.comparable import Tables, pair_of, tables_of
from morphogen.modalities.table.measure import measure
from morphogen.modalities.table.measure_pairs import DEPENDENCES, ORDERS, measure_pairs
from morphogen.modalities.table.options import Options
from morphogen.modalities.table.statistics.date_differences import MOST, find_date_differences, with_date_differences
from morphogen.modalities.table.statistics.dependence import broken_orders

COLUMNS, STAY = "columns that differ", "days from admitted to discharged"
DAY, DATE, TIME = 86_400, arrow.date32(), arrow.timestamp("s", "Europe/Berlin")
START = 1_262_304_000  # the first of January 2010


def column(seconds: Any, kind: Any) -> Any:
    whole = np.asarray(seconds, np.int64)
    return arrow.array((whole // DAY).astype(np.int32) if kind == DATE else whole).cast(kind)


def stays(seed: int, kinds: tuple[Any, Any] = (DATE, DATE), rows: int = 600, shuffled: bool = False) -> Any:
    """Return stays whose lengths have a gamma distribution, with a standard deviation of 1.8 days, and their cost."""
    random = np.random.default_rng(seed)
    admitted = START + random.integers(0, 730 * DAY, rows)
    days = random.gamma(4, 0.9, rows)
    discharged = admitted + (days * DAY).astype(np.int64)
    if shuffled:
        discharged = random.permutation(discharged)
    cost = (800 * days + random.normal(0, 200, rows)).round(2)
    seen = START + random.integers(0, 730 * DAY, rows)  # whenever
    return arrow.table(
        {
            "admitted": column(admitted, kinds[0]),
            "discharged": column(discharged, kinds[1]),
            "seen": column(seen, DATE),
            "cost": cost,
        }
    )


def comparison_of(real: Any, generated: Any, train: Any) -> Comparison[Any]:
    def sample(items: Any) -> Sample[Any]:
        return Sample(items, torch.zeros(len(items), 1))

    codec = TableCodec.fit([train], Row, Options())
    extractor: Any = None  # no figure here reads features
    return Comparison(codec, extractor, 0, sample(real), sample(generated), train_matched=sample(train))


def detected(results: Results) -> dict[str, str]:
    return {check.name: check.message for check in results.checks if check.detected}


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_lost_stay_is_found_and_a_healthy_one_is_not(shuffled: bool) -> None:
    real, generated, train = (stays(seed, shuffled=shuffled and seed == 2).drop_columns(["seen"]) for seed in (0, 2, 1))
    measure(comparison_of(real, generated, train), results := Results())
    assert detected(results).keys() == ({COLUMNS, DEPENDENCES, ORDERS} if shuffled else set())
    assert (STAY in detected(results).get(COLUMNS, "")) == shuffled
    shapes = {one.name: one.shape for one in results.columns}
    assert (shapes[STAY] < 0.9) == shuffled
    assert STAY in {one.name for one in results.distributions}


@pytest.mark.parametrize("kinds", [(DATE, DATE), (TIME, TIME), (TIME, DATE)], ids=str)
def test_a_broken_order_is_found_for_all_types_of_dates(kinds: tuple[Any, Any]) -> None:
    real, train = stays(0, kinds), stays(1, kinds)
    tables = tables_of(comparison_of(real, stays(2, kinds, shuffled=True), train))
    assert [name for name in tables.real.column_names if " to " in name] == [STAY], "'seen' follows neither"
    measure_pairs(tables, results := Results())
    message = detected(results)[ORDERS]
    assert "admitted is later than discharged in 51.7% of generated rows, and never in real ones" in message
    assert ('"admitted <= discharged"' in message) == (kinds[0] == kinds[1]), "no constraint compares two types"
    healthy = comparison_of(real, stays(2, kinds), train)
    measure_pairs(tables_of(healthy), results := Results())
    assert not detected(results)
    assert STAY in pair_of(healthy, train)[1].column_names, "the classifier reads it, too"
    assert STAY in tables.derived_from("discharged"), "which predict it"
    assert set(tables.derived_from("seen")) == {"seen · weekday", "seen · month", "seen · year"}


def test_differences_count_the_days_of_the_calendar() -> None:
    clock = ["2024-03-30 22:00", "2024-10-26 01:00", None, "2024-01-05 23:59"]
    begin = [None if one is None else datetime.datetime.fromisoformat(one) for one in clock]
    end = [datetime.date(2024, 4, 1), datetime.date(2024, 10, 28), datetime.date(2024, 1, 1), datetime.date(2024, 1, 6)]
    table = arrow.table({"a": arrow.array(begin * 50, arrow.timestamp("ns")), "b": arrow.array(end * 50)})
    (one,), _ = find_date_differences(table)
    assert one.name == "days from a to b"
    assert with_date_differences(table, [one]).column(one.name).to_pylist()[:4] == [2, 2, None, 1]


@pytest.mark.parametrize(("step", "unit"), [(60, "minutes"), (1, "seconds"), (3600, "hours")])
def test_short_differences_are_exact(step: int, unit: str) -> None:
    random = np.random.default_rng(3)
    begin, length = START + random.integers(0, 99 * DAY, 200), random.integers(0, 9, 200)
    end = (begin + step * length) * 1000
    table = arrow.table({"end": arrow.array(end).cast(arrow.timestamp("ms")), "begin": column(begin, TIME)})
    table = table.set_column(1, "begin", arrow.array(begin).cast(arrow.timestamp("s")))
    (one,), _ = find_date_differences(table)
    assert one.name == f"{unit} from begin to end"
    assert with_date_differences(table, [one]).column(one.name).to_pylist() == length.tolist()


def test_a_date_that_stands_for_none_has_no_difference() -> None:
    table = stays(0)
    never = datetime.date(9999, 12, 31)
    ends = [never if row % 4 == 0 else one for row, one in enumerate(table["discharged"].to_pylist())]
    table = table.set_column(1, "discharged", arrow.array(ends, DATE))
    (one,), _ = find_date_differences(table)
    lengths = with_date_differences(table, [one]).column(STAY).to_pylist()
    assert [length is None for length in lengths] == [one == never for one in ends]


def test_no_more_than_the_closest_differences_are_judged() -> None:
    random = np.random.default_rng(0)
    times, columns = START + random.integers(0, 700 * DAY, 300), {}
    for at in range(6):
        times = times + random.integers(0, 5 * DAY, 300)
        columns[f"t{at}"] = column(times, TIME)
    table = arrow.table(columns)
    differences, left_out = find_date_differences(table)
    assert (len(differences), left_out) == (MOST, 5)
    assert {(one.earlier, one.later) for one in differences} >= {(f"t{at}", f"t{at + 1}") for at in range(5)}


def test_an_order_that_never_is_broken_is_known_from_training_rows_too() -> None:
    """Dew points above temperatures in 2 % of the rows, of which 200 held-out ones could not tell."""

    def weather(seed: int, rows: int, wrong: float = 0.0) -> Any:
        random = np.random.default_rng(seed)
        warm = random.normal(12, 9, rows).round(1)
        dew = (warm - random.gamma(1.5, 6, rows)).round(1)
        dew[: int(wrong * rows)] = warm[: int(wrong * rows)] + 1
        return arrow.table({"warm": warm, "dew": dew, "wind": random.gamma(2, 3, rows)})

    real, train, generated = weather(0, 200), weather(1, 4000), weather(2, 4000, wrong=0.02)
    assert not broken_orders(real, generated)
    measure_pairs(Tables(real, generated, train, None, []), results := Results())
    assert detected(results).keys() - {DEPENDENCES} == {ORDERS}
    assert (
        'dew is above warm in 2.0% of generated rows, and never in real ones. Give --codec.constraints "dew'
        in (detected(results)[ORDERS])
    )
    for seed in range(3, 12):
        measure_pairs(Tables(real, weather(seed, 4000), train, None, []), results := Results())
        assert not detected(results)
