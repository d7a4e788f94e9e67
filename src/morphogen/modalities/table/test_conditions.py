"""Conditions as a user may write them: values of the file, of Python, numpy and pandas; each holds exactly."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.noise import Noise
from morphogen.core.query import Query
from morphogen.core.space import Row
from morphogen.modalities.table import files
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.options import Mask, Options, TableQuery

pandas = pytest.importorskip("pandas")
RANDOM = np.random.default_rng(0)
ROWS = 2000
START = datetime.datetime(2020, 1, 1)
HOUR = datetime.timedelta(hours=1)
TABLE = files.from_frame(
    arrow.table(
        {
            "income": RANDOM.gamma(2, 1500, ROWS),
            "pay": RANDOM.integers(1000, 9000, ROWS),
            "large": 10**18 + RANDOM.integers(0, 10**6, ROWS),
            "word": RANDOM.choice(["yes", "Yes", "no"], ROWS),
            "day": [START.date() + datetime.timedelta(days=int(x)) for x in RANDOM.integers(0, 3000, ROWS)],
            "moment": arrow.array(
                [START + datetime.timedelta(seconds=int(x)) for x in RANDOM.integers(0, 10**8, ROWS)],
                arrow.timestamp("ns"),
            ),
            "zoned": arrow.array(
                [START + HOUR * int(x) for x in RANDOM.integers(0, 9, ROWS)], arrow.timestamp("s", "Asia/Tokyo")
            ),
            "duration": arrow.array([HOUR * int(x) for x in RANDOM.integers(0, 2000, ROWS)]),
            "exact": [decimal.Decimal(10**16 + int(x)) / 100 for x in RANDOM.integers(0, 10**6, ROWS)],
            "whole": [20200101 + int(x) for x in RANDOM.integers(0, 28, ROWS)],
            "percent": [f"{x:.1f}%" for x in RANDOM.gamma(2, 9, ROWS)],
        }
    )
)  # fmt: skip
CODEC = TableCodec.fit([TABLE], Row, Options(rare=1, bins=16))


def outcomes(condition: dict[str, Any], count: int = 40) -> list[Any]:
    """Return the cells of the conditioned column of rows of any cells that the condition allows."""
    ((name, _),) = condition.items()
    columns = []
    for request in CODEC.requests(Query(condition=condition), Noise.consecutive(0, count)):
        assert request.evidence is not None
        x = torch.zeros(len(request), len(CODEC.columns), dtype=torch.int64)
        for field, likelihood in request.evidence.likelihoods.items():  # several of a date, which has parts
            x[:, field] = torch.multinomial(likelihood, len(request), replacement=True)
        columns += CODEC.gather([CODEC.finish(x, request)]).column(name).to_pylist()
    return columns


def test_equality_holds_to_the_last_digit() -> None:
    moment = datetime.datetime(2021, 3, 4, 5, 6, 7)
    tokyo = datetime.timezone(HOUR * 9)
    for name, value, expected in (
        ("income", 2500, 2500.0), ("income", "2500.125", 2500.125), ("pay", 2500, 2500), ("pay", 2500.0, 2500),
        ("pay", decimal.Decimal(2500), 2500), ("pay", np.int64(2500), 2500), ("large", 10**18 + 12345, 10**18 + 12345),
        ("day", "2021-03-04", moment.date()), ("day", moment.date(), moment.date()),
        ("day", np.datetime64("2021-03-04"), moment.date()), ("day", pandas.Timestamp("2021-03-04"), moment.date()),
        ("moment", moment, moment), ("moment", pandas.Timestamp(moment), moment), ("moment", str(moment), moment),
        ("moment", np.datetime64(moment, "ns"), moment),
        ("zoned", "2020-01-01 10:00:00", datetime.datetime(2020, 1, 1, 10, tzinfo=tokyo)),
        ("zoned", "2020-01-01T01:00:00Z", datetime.datetime(2020, 1, 1, 10, tzinfo=tokyo)),
        ("duration", HOUR * 30, HOUR * 30), ("duration", pandas.Timedelta(hours=30), HOUR * 30),
        ("duration", "1 days 06:00:00", HOUR * 30), ("duration", "23:00:00", HOUR * 23),
        ("exact", decimal.Decimal("100000000000012.34"), decimal.Decimal("100000000000012.34")),
        ("exact", "100000000000012.34", decimal.Decimal("100000000000012.34")),
        ("whole", 20200103, 20200103), ("whole", "2020-01-03", 20200103), ("percent", "12.5%", "12.5%"),
        ("percent", 12.5, "12.5%"), ("word", "yes", "yes"), ("word", "Yes", "Yes"), ("word", "NO", "no"),
    ):  # fmt: skip
        assert set(map(str, outcomes({name: value}))) == {str(expected)}, (name, value)


def test_what_is_missing_to_python_is_missing() -> None:
    for value in (None, "missing", float("nan"), np.nan, pandas.NA, pandas.NaT, np.datetime64("NaT")):
        for name in ("pay", "income", "word", "moment", "duration"):
            assert outcomes({name: value}, 3) == [None] * 3, (name, value)


def test_one_condition_a_sample_and_sets_of_values() -> None:
    values = ["yes", "no", None, "Yes"]
    for each in (values, tuple(values), np.array(values, dtype=object), pandas.Series(values), pandas.Index(values)):
        assert outcomes({"word": each}, 4) == values
    times = pandas.to_datetime(["2020-02-02", "2021-05-06", None])
    for dates in (times, times.to_numpy(), times.to_series(), list(times)):
        moments = outcomes({"moment": dates}, 3)
        assert [one if one is None else one.to_pydatetime() for one in moments] == [
            datetime.datetime(2020, 2, 2), datetime.datetime(2021, 5, 6), None,
        ]  # fmt: skip
    assert set(outcomes({"word": {"yes", "no"}})) == {"yes", "no"}
    assert set(outcomes({"pay": {2500, 2600, None}})) <= {2500, 2600, None}


def test_what_cannot_be_is_refused_in_one_line() -> None:
    for condition, complaint in (
        ({"word": "YES"}, "column 'word' has no value 'YES'; did you mean 'yes' or 'Yes'"),
        ({"day": 3}, "is '3'; expected a number or date"),
        ({"day": "30/02/2020"}, "expected a number or date"),
        ({"duration": "long"}, "expected a number or date"),
        ({"pay": {"3..4", 5}}, "is a set with a range in it"),
        ({"percent": "900.5%"}, r"no cell of column 'percent' can be 900.5%; it has values from \d.*%"),
        ({"word": ["yes"] * 3}, "3 conditions for 40 samples"),
    ):
        with pytest.raises(UserError, match=complaint) as raised:
            outcomes(condition)
        assert "\n" not in str(raised.value)


LABELS = [2020, 2.5, True, None, ("a", 1), pandas.Timestamp(2020, 3, 1)]


def test_a_column_is_named_by_the_label_that_the_frame_has() -> None:
    frame = pandas.DataFrame({number: [1, 2] * 30 for number in range(len(LABELS))})
    frame.columns = pandas.Index(LABELS, tupleize_cols=False)
    codec = TableCodec.fit([files.from_frame(frame)], Row, Options(kinds={2020: "category"}))
    assert codec.column_types["2020"].kind == "category"
    for label in [*LABELS, np.int64(2020), ("a", np.int64(1))]:
        query = TableQuery(condition={label: 2})
        assert query == TableQuery(condition={str(LABELS[4]) if isinstance(label, tuple) else str(label): 2})
        (request,) = codec.requests(query, Noise.consecutive(0, 2))
        assert request.evidence is not None
        assert len(request.evidence.likelihoods) == 1
    assert Mask(mask=[2020, "x"]).mask == ("2020", "x")
    with pytest.raises(UserError, match=r"unknown column '2021'; did you mean '2020'\?"):
        list(codec.requests(TableQuery(condition={2021: 1}), Noise.consecutive(0, 2)))
    with pytest.raises(ValueError, match="column '2020' twice"):
        TableQuery(condition={2020: 1, "2020": 2})
