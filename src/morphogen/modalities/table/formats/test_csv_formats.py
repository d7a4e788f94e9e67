"""Csv files come back byte by byte, and their columns have the values that a reader sees in them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest

from morphogen.core.errors import UserError
from morphogen.core.modality import modality
from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table import files
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.formats.moment_patterns import infer_moments
from morphogen.modalities.table.formats.numbers import infer_numbers
from morphogen.modalities.table.options import Mask, Options

FILES = {
    "leading zeros": "zip,x\n02139,1\n10115,2\n",
    "years in the header": "country,1990,1991,1992\nGermany,1.5,2.5,3\nFrance,1,2,3.25\n",
    "years alone": "2019,2020,2021\n5,6.5,7\n1,2,3\n",
    "counted columns": ",0,1,2\n0,1.5,2.5,3\n1,1,2,3.25\n",
    "decimal commas, no header": "dear;812,67\nbob;1.812,60\nann;2,50\n",
    "decimal commas": "name;price\ndear;812,67\nbob;1812,60\n",
    "european": "d,t,p,n\n28/04/2017,7:05 PM,12.5%,(3.00)\n01/05/2017,11:15 AM,3.0%,4.00\n",
    "dates in digits": "d,n\n20240320,1\n20240228,2\n",
    "words for missing": "a,b,c\nNone,NA,1\nNA,-,NA\n-,None,2\n,x,3\n",
    "zones": "a,b\n2020-01-01T10:00:00+02:00,08:33\n2020-01-02T10:00:00+02:00,09:41\n",
    "byte order mark": "\ufeffa;b\r\n1;x\r\n2;y\r\n",
    "excel": "sep=;\r\na;b\r\n1,5;x\r\n2,25;y\r\n",
    "quotes as in R": '"a","b","c"\n"x",1,NA\n"y z",2,"q"\n',
    "quotes everywhere": '"a","b"\n"1","x"\n"2",""\n',
    "money": 'a,b,c,d\n"$1,234.50",5 kg,€ 3,USD 5\n$3.20,12 kg,€ 12,USD 10\n-$10.00,1 kg,-€ 1,USD 7\n',
    "numpy": "a\n1.000000000000000000e+00\n2.500000000000000000e-01\n",
    "many digits": "a,b\n12345678901234567890,1234567890123456.78\n5,2234567890123456.79\n",
    "kinds of floats": "a,b,c,d,e\n1.0,1,0.10,+5,9.83E-05\n2.5,2.5,1.25,-3,0.5\n",
    "words": "a,b,c\nTRUE,yes,true\nFALSE,Yes,false\nTRUE,no,\n",
    "months": 'd,e,f\n1 Mar 2020,"March 5, 2020",05-Mar-20\n12 Apr 2020,"April 12, 2020",11-Apr-20\n',
    "fractions of seconds": "d\n2020-01-01 10:00:00.125\n2020-01-01 10:00:01.250\n",
    "no last line end": "a\n1\n3",
    "text": 'a,b\n"x, y",1\n"he said ""hi""",2\n"two\nlines",3\n',
    "dates in the header": "country,2020-01-01,2020-02-01\nGermany,1,2\nFrance,3,4\n",
    "two digits": "age,hour\n10,00\n20,23\n",
    "a column called by a sign": "#,name\n1,x\n2,y\n",
    "nothing in the first row": "\t\n0.5\t1.25\n\t2.5\n",
    "spaces": "a, b, c\n1, x, ?\n2, y z, 3\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_comes_back_byte_by_byte(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(FILES[name].encode())
    files.write_file(tmp_path / "b.csv", [files.read(tmp_path / "a.csv")])
    assert (tmp_path / "b.csv").read_bytes().decode() == FILES[name]


def values(name: str, folder: Path) -> dict[str, list[Any]]:
    (folder / "a.csv").write_bytes(FILES[name].encode())
    read: dict[str, list[Any]] = files.read(folder / "a.csv").to_pydict()
    return read


def test_cells_have_the_values_that_a_reader_sees(tmp_path: Path) -> None:
    assert values("leading zeros", tmp_path)["zip"] == ["02139", "10115"]
    assert list(values("years in the header", tmp_path)) == ["country", "1990", "1991", "1992"]
    assert list(values("years alone", tmp_path)) == ["2019", "2020", "2021"]
    assert values("decimal commas, no header", tmp_path)["c2"] == [812.67, 1812.6, 2.5]
    assert values("european", tmp_path) == {
        "d": [datetime.date(2017, 4, 28), datetime.date(2017, 5, 1)],
        "t": [datetime.time(19, 5), datetime.time(11, 15)],
        "p": [12.5, 3.0],
        "n": [-3.0, 4.0],
    }
    assert values("two digits", tmp_path) == {"age": [10, 20], "hour": ["00", "23"]}  # and not times of the day
    assert list(values("dates in the header", tmp_path)) == ["country", "2020-01-01", "2020-02-01"]
    assert values("dates in digits", tmp_path)["d"] == [datetime.date(2024, 3, 20), datetime.date(2024, 2, 28)]
    # A file with empty cells: its words are words. Among numbers they are missing.
    assert values("words for missing", tmp_path) == {
        "a": ["None", "NA", "-", None],
        "b": ["NA", "-", "None", "x"],
        "c": [1, None, 2, 3],
    }
    assert values("money", tmp_path)["a"] == [1234.5, 3.2, -10]
    assert values("many digits", tmp_path) == {
        "a": ["12345678901234567890", "5"],
        "b": [123456789012345678, 223456789012345679],
    }
    assert values("words", tmp_path)["b"] == ["yes", "Yes", "no"]


def test_remarks_above_a_table_are_no_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# made on Monday\n# by hand\na,b\n1,2\n3,4\n")
    assert files.read(tmp_path / "a.csv").to_pydict() == {"a": [1, 3], "b": [2, 4]}


def test_what_is_ambiguous_is_text_or_decided_by_all_cells() -> None:
    def pattern(*cells: str) -> str | None:
        one = infer_moments(arrow.array(cells))
        return one.pattern if one else None

    assert pattern("01/02/2020", "28/02/2020") == "%d/%m/%Y"
    assert pattern("01/02/2020", "02/28/2020") == "%m/%d/%Y"
    assert pattern("01.02.2020", "03.04.2020") == "%d.%m.%Y"
    assert pattern("01/02/2020", "02/01/2020") == "%m/%d/%Y"
    assert pattern("28/02/2020", "01/02/2020", "02/02/2020") == "%d/%m/%Y"
    assert pattern("30/02/2020") is None
    assert pattern("08:33", "08:41:00") == "%H:%M:%S"  # loosely: written in several ways, and times all the same
    assert pattern("2020-01-01 10:00:00", "2020-01-01 10:00:00.5") == "%Y-%m-%d %H:%M:%S.%6f"
    assert pattern("12345678", "20240101") is None
    for cells in (["02139", "10115"], ["12A", "5"], ["1-2", "3"], ["1.2.3"], ["$5", "€5"]):
        assert infer_numbers(arrow.array(cells)) is None, cells
    loose = infer_numbers(arrow.array(["1.50", "1.5", "20", " 3"]))  # written in several ways, and numbers all the same
    assert loose is not None
    assert loose.read_distinct(arrow.array(["1.50", "20"])).to_pylist() == [1.5, 20]


def test_samples_are_written_as_the_file_was_and_conditions_read_as_it_is(tmp_path: Path) -> None:
    rows = [f"{1 + x % 28:02d}.04.2017;{x % 12 + 1}:05 PM;{1000 + 7 * x},50 €;{x % 9}.0%;(3.00)" for x in range(60)]
    (tmp_path / "a.csv").write_text("day;hour;price;share;debt\n" + "\n".join(rows) + "\n")
    table = files.read(tmp_path / "a.csv")
    codec = TableCodec.fit([table], Row, Options(rare=1, kinds={"price": "float"}))
    codec = TableCodec.from_state(codec.state()[0], {})
    made = codec.decode(codec.encode(table), Noise.consecutive(0, 60))
    files.write_file(tmp_path / "b.csv", [made])
    for line in (tmp_path / "b.csv").read_text().splitlines()[1:]:
        day, hour, price, share, debt = line.split(";")
        assert datetime.datetime.strptime(day, "%d.%m.%Y").month == 4
        assert hour.endswith(" PM")
        assert price.endswith(",50 €")
        assert share.endswith(".0%")
        assert debt == "(3.00)"
    for name, value in (
        ("day", "28.04.2017"),
        ("day", "2017-04-28"),
        ("hour", "7:05 PM"),
        ("hour", "19:05"),
        ("price", "1007,50 €"),
    ):
        condition = codec._conditions.parse(name, value)
        assert condition.values is not None
        assert len(condition.values) == 1
    assert (
        codec._conditions.parse("price", "1007,50 €").values
        == codec._conditions.parse("price", 1007.5).values
        == (1007.5,)
    )


def test_rows_to_impute_are_read_in_the_format_of_training(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("d,n\n" + "".join(f"{1 + x % 28:02d}/04/2017,{x % 7}.50\n" for x in range(60)))
    codec = TableCodec.fit([files.read(tmp_path / "a.csv")], Row, Options(rare=1))
    # By themselves these days would be months, and these numbers whole.
    (tmp_path / "b.csv").write_text("d,n\n01/04/2017,3\n02/04/2017,\n")
    aligned = codec.align(files.read(tmp_path / "b.csv"))
    assert aligned.column("d").to_pylist() == [datetime.date(2017, 4, 1), datetime.date(2017, 4, 2)]
    assert aligned.column("n").to_pylist() == [3.0, None]
    (tmp_path / "b.csv").write_text("d,n\n2017-04-01,3\n")
    with pytest.raises(UserError, match=r"column 'd' holds '2017-04-01'; expected a date as %d/%m/%Y, as in training"):
        codec.align(files.read(tmp_path / "b.csv"))


def test_known_cells_keep_their_bytes_when_others_are_filled_in(tmp_path: Path) -> None:
    mark, names = "\ufeffsep=;", "name;price;share;day;at;zip;balance"
    rows = [
        [
            "ann",
            f"{900 + 7 * x},50",
            f"{x % 9},5%",
            f"{1 + x % 28:02d}/04/2017",
            f"{1 + x % 12}:05 PM",
            "02139",
            "(3,00)",
        ]
        for x in range(60)
    ]
    (tmp_path / "a.csv").write_text("\r\n".join([mark, names, *map(";".join, rows), ""]), newline="")
    table = files.read(tmp_path / "a.csv")
    codec = TableCodec.fit([table], Row, Options(rare=1))
    holed = [[*row[: x % 7], "", *row[x % 7 + 1 :]] for x, row in enumerate(rows)]
    (tmp_path / "b.csv").write_text("\r\n".join([mark, names, *map(";".join, holed), ""]), newline="")
    aligned = codec.align(files.read(tmp_path / "b.csv"))
    mask = modality("table").mask(aligned, Mask())
    assert mask.sum() == 60
    filled = codec.merge_known(codec.encode(table), Noise.consecutive(0, 60), aligned, mask)
    files.write_file(tmp_path / "c.csv", [filled])
    lines = (tmp_path / "c.csv").read_bytes().decode().split("\r\n")
    assert lines[:2] == [mark, names]
    assert lines[-1] == ""
    for x, (line, row) in enumerate(zip(lines[2:-1], rows, strict=True)):
        cells = line.split(";")
        assert cells[x % 7] != ""
        assert [*cells[: x % 7], *cells[x % 7 + 1 :]] == [*row[: x % 7], *row[x % 7 + 1 :]]
