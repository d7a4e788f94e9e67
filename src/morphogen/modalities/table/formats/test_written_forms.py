"""Forms of numbers, dates and times that are read once and written back as they were."""

from __future__ import annotations

import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as arrow
import pytest

from morphogen.core.errors import UserError
from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table import files
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.formats.moment_patterns import infer_moments
from morphogen.modalities.table.formats.numbers import NumberFormat, infer_numbers
from morphogen.modalities.table.formats.registry import format_from_state
from morphogen.modalities.table.options import Options

Moment = datetime.datetime


def at_zone(zone: str, start: Moment, minutes: int, count: int = 60) -> list[str]:
    """Return moments with the offset that the zone database gives them."""
    first = start.replace(tzinfo=datetime.UTC)
    steps = (first + datetime.timedelta(minutes=minutes * step) for step in range(count))
    return [step.astimezone(ZoneInfo(zone)).isoformat(sep=" ") for step in steps]


@pytest.mark.parametrize(
    "cells",
    [
        ["0.50", "7.50E-05", "12.00"],
        ["12.50", "1.25E+07", "0.00"],
        ["-0.50", "7.50e-05", "12.00", "-3.10e+09"],
        ["7.50E-05", "1.25E+02"],
        ["7.50e-5", "1.25e-7"],
        ["1.25E+002", "7.50E-005"],
        ["0.001", "7.5e-7", "12"],
    ],
)
def test_exponents_are_written_as_they_were(cells: list[str]) -> None:
    own = infer_numbers(arrow.array(cells))
    assert own is not None
    again = format_from_state(own.state())
    values = again.read_distinct(arrow.array(cells))
    assert values.to_pylist() == [float(cell) for cell in cells]
    assert again.write_distinct(values).to_pylist() == cells


def test_numbers_between_those_of_the_column_have_no_exponent_of_their_own() -> None:
    large = infer_numbers(arrow.array(["12.50", "1.25E+07", "0.00"]))
    assert large is not None
    assert large.write_distinct(arrow.array([0.02, 99.5, 100.0])).to_pylist() == ["0.02", "99.50", "1.00E+02"]
    small = infer_numbers(arrow.array(["12.50", "1.25E-07"]))
    assert small is not None
    assert small.write_distinct(arrow.array([0.0, 0.02, 1e6])).to_pylist() == ["0.00", "2.00E-02", "1000000.00"]


def test_numbers_that_no_double_holds_are_no_numbers() -> None:
    assert infer_numbers(arrow.array(["1e400", "2"])) is None
    assert infer_numbers(arrow.array(["0.123456789012345678", "2"])) is None
    by_c = infer_numbers(arrow.array(["0.10000000000000001", "0.5"]))  # %.17g, the same double as .1
    assert by_c is not None
    assert by_c.read_distinct(arrow.array(["0.10000000000000001"])).to_pylist() == [0.1]


@pytest.mark.parametrize(
    ("zone", "start", "minutes"),
    [
        ("Europe/Berlin", Moment(2023, 1, 1), 9_000),
        ("Europe/Berlin", Moment(2023, 10, 28, 22), 30),  # the hour that comes twice
        ("America/New_York", Moment(2023, 3, 11), 60),
        ("Australia/Sydney", Moment(2022, 6, 1), 9_000),
        ("America/St_Johns", Moment(2022, 6, 1), 9_000),
    ],
)
def test_offsets_of_summer_and_winter_are_kept(zone: str, start: Moment, minutes: int) -> None:
    for cells in (written := at_zone(zone, start, minutes), [cell[:-3] + cell[-2:] for cell in written]):
        own = infer_moments(arrow.array(cells))
        assert own is not None
        assert own.zone == zone
        again = format_from_state(own.state())
        moments = again.read_distinct(arrow.array(cells))
        assert again.write_distinct(moments).to_pylist() == cells
        assert [one.timestamp() for one in moments.to_pylist()] == [
            Moment.strptime(cell, "%Y-%m-%d %H:%M:%S%z").timestamp() for cell in cells
        ]


def test_moments_that_are_made_get_the_offset_of_their_day(tmp_path: Path) -> None:
    cells = at_zone("Europe/Berlin", Moment(2022, 1, 1), 6_011, 200)
    (tmp_path / "a.csv").write_text("at,n\n" + "".join(f"{cell},{n % 3}\n" for n, cell in enumerate(cells)))
    table = files.read(tmp_path / "a.csv")
    codec = TableCodec.fit([table], Row, Options(rare=1))
    codec = TableCodec.from_state(codec.state()[0], {})
    made = codec.decode(codec.encode(table), Noise.consecutive(0, 200))
    files.write_file(tmp_path / "b.csv", [made])
    zone = ZoneInfo("Europe/Berlin")
    for line in (tmp_path / "b.csv").read_text().splitlines()[1:]:
        moment = Moment.fromisoformat(line.split(",")[0])
        assert moment.utcoffset() == moment.astimezone(zone).utcoffset()
    assert codec._conditions.parse("at", cells[7]).values == codec._conditions.parse("at", cells[7][:-6]).values


def test_offsets_of_no_zone_are_written_in_utc() -> None:
    cells = arrow.array(["2020-01-01T10:00:00+05:30", "2020-07-01T10:00:00+02:00"])
    own = infer_moments(cells)
    assert own is not None
    assert own.write_distinct(own.read_distinct(cells)).to_pylist() == ["2020-01-01T04:30:00Z", "2020-07-01T08:00:00Z"]


@pytest.mark.parametrize(
    ("cells", "language"),
    [
        (["28. April 2017", "1. Mai 2017", "3. März 2018"], "de"),
        (["28-Mär-2017", "01-Dez-2018"], "de"),
        (["28 avril 2017", "1 mai 2017", "3 août 2018"], "fr"),
        (["28 janv. 2017", "01 mars 2017"], "fr"),
        (["28 Février 2017", "01 Août 2017"], "fr"),
        (["28 de abril de 2017", "1 de mayo de 2018"], "es"),
        (["28 aprile 2017", "1 maggio 2018"], "it"),
        (["28 de março de 2017", "1 de maio de 2018"], "pt"),
        (["28 maart 2017", "1 mei 2018"], "nl"),
        (["28-APR-17", "01-JAN-18"], "en"),
        (["Apr 28, 2017 7:05 PM", "May 1, 2017 11:00 AM"], "en"),
    ],
)
def test_months_have_names_in_several_languages(cells: list[str], language: str) -> None:
    own = infer_moments(arrow.array(cells))
    assert own is not None
    assert own.language == language
    again = format_from_state(own.state())
    values = again.read_distinct(arrow.array(cells))
    assert again.write_distinct(values).to_pylist() == cells
    assert {one.year for one in values.to_pylist()} <= {2017, 2018}


def test_a_month_that_every_spelling_shares_is_taken_for_a_full_name() -> None:
    own = infer_moments(arrow.array(["28 avril 2017", "1 mai 2017"]))
    assert own is not None
    assert own.write_distinct(arrow.array([datetime.date(2017, 1, 3)])).to_pylist() == ["3 janvier 2017"]


def test_words_that_name_no_month_are_text() -> None:
    assert infer_moments(arrow.array(["28 Foo 2017", "1 Bar 2017"])) is None


@pytest.mark.parametrize(
    "state", [{"zone": "Mars/Base"}, {"language": "xx"}, {"case": "Upper"}, {"language": 5}, {"zone": ["UTC"]}]
)
def test_a_format_of_unknown_words_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"zone|language|moment|Mars"):
        format_from_state({"kind": "moment", "pattern": "%d %B %Y %H:%M%:z", **state})


def test_the_index_of_pandas_without_a_name_is_no_column(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": pandas.array([1, None, 3], dtype="Int64")}, index=[5, 7, 9])
    frame.to_parquet(tmp_path / "a.parquet")
    table = files.read(tmp_path / "a.parquet")
    assert table.column_names == ["a", "b"]
    (path,) = files.write([table], tmp_path / "out")
    pandas.testing.assert_frame_equal(pandas.read_parquet(path), frame.reset_index(drop=True))
    frame.rename_axis("key").to_parquet(tmp_path / "b.parquet")
    assert files.read(tmp_path / "b.parquet").column_names == ["a", "b", "key"]
    frame[[]].to_parquet(tmp_path / "c.parquet")
    with pytest.raises(UserError, match="0 columns"):
        files.read(tmp_path / "c.parquet")


def test_a_style_of_its_own_is_not_invented() -> None:
    assert infer_numbers(arrow.array(["1", "2"])) == NumberFormat()
