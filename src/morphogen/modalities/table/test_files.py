"""Files of tables, and the modality: what it claims, reads, writes, shows and compares."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest

from morphogen.core.errors import UserError
from morphogen.core.modality import WEAK, Record, modality
from morphogen.core.space import Row
from morphogen.modalities.table import files
from morphogen.modalities.table.options import Mask, Options
from morphogen.modalities.table.preview import drawable

TABLE = modality("table")


def test_a_csv_file_is_written_in_the_form_that_it_was_read_in(tmp_path: Path) -> None:
    for name, text in {
        "plain.csv": "a,b\n1,x\n2,y\n",
        "spaced.csv": "a, b, c\n1, x, ?\n2, y z, 3\n",
        "bare.csv": "1;0.5\n2;0.25\n",
        "tabs.tsv": "a\tb\n1\tx\n2\ty\n",
        "floats.csv": "a,b\n41.0,TRUE\n40.0,FALSE\n",
    }.items():
        (tmp_path / name).write_text(text)
        table = files.read(tmp_path / name)
        files.write_file(tmp_path / f"new-{name}", [table])
        assert files.read(tmp_path / f"new-{name}").equals(table), name
        assert (tmp_path / f"new-{name}").read_text().replace('"', "").split() == text.split(), name
    assert files.read(tmp_path / "bare.csv").column_names == ["c1", "c2"]
    (tmp_path / "blank.csv").write_text("\n\na,b\n1,2\n")
    assert files.read(tmp_path / "blank.csv").to_pydict() == {"a": [1], "b": [2]}


def test_parts_are_written_to_one_file_of_the_first_ones_form(tmp_path: Path) -> None:
    table = arrow.table({"a": arrow.array([1, None, 3], arrow.int16()), "b": ["x", "y", "z"]})
    assert TABLE.write([table.slice(0, 2), table.slice(2)], tmp_path / "out") == [tmp_path / "out" / "rows.parquet"]
    assert TABLE.load([tmp_path / "out" / "rows.parquet"]).equals(table)
    csv = files.with_form(table, files.Form("csv"))
    assert TABLE.write(iter([csv, csv]), tmp_path / "out") == [tmp_path / "out" / "rows.csv"]
    assert (tmp_path / "out" / "rows.csv").read_text().count("a") == 1
    with pytest.raises(UserError, match="no rows to write"):
        TABLE.write([], tmp_path)


def test_bad_files(tmp_path: Path) -> None:
    for text, complaint in (
        ("", "empty"),
        ("a,b\n1,2\n3\n", "the row '3' has 1 cells, and the others 2"),
        ("a,b,a\n1,2,3\n", "column 'a' 2 times"),
        ("a,b\n", "0 rows"),
        ("\ufeff\n", "empty"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(UserError, match=complaint):
            TABLE.read(tmp_path / "bad.csv", "bad.csv")
    zipped = bytearray(gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (x, x * 7919 % 1000) for x in range(3000))))
    zipped[40] ^= 255
    (tmp_path / "bad.csv.gz").write_bytes(zipped)
    with pytest.raises(UserError, match="cannot be read as a table"):
        TABLE.read(tmp_path / "bad.csv.gz", "bad.csv.gz")
    with pytest.raises(UserError, match=r"row 3 is a float; expected a csv or parquet file, or a data frame"):
        TABLE.read(1.5, "row 3")


def test_data_frames_are_read_with_certainty() -> None:
    pandas = pytest.importorskip("pandas")
    table = arrow.table({"a": [1, 2], "b": ["x", None]})
    for frame in (table, table.to_pandas()):
        assert TABLE.claims(Record("object", frame)) == 1
        assert TABLE.read(frame, "the frame").to_pydict() == table.to_pydict()
    assert TABLE.claims(Record("object", [1, 2])) == 0
    assert TABLE.claims(Record("object", pandas.Series([1]))) == 0
    assert TABLE.claims(Record("rows", None, "adult.data.gz")) == 1
    assert WEAK < TABLE.claims(Record("rows", table, "a.csv")) < 0.6
    assert TABLE.claims(Record("cells", ["a long text"], "text")) == 0


def test_the_modality_imports_no_torch_and_no_arrow() -> None:
    code = "import sys, morphogen.modalities.table.modality; print({'torch', 'pyarrow', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_missing_cells_and_the_preview() -> None:
    table = arrow.table({"a": [1, None, 3], "b": ["x", "y", None]})
    assert TABLE.mask(table, Mask()).tolist() == [[False, False], [True, False], [False, True]]
    assert TABLE.mask(table, Mask(mask="b")).sum() == 1
    with pytest.raises(UserError, match="nothing to impute"):
        TABLE.mask(table.slice(0, 1), Mask())
    with pytest.raises(UserError, match="unknown column 'c'"):
        TABLE.mask(table, Mask(mask=("c",)))
    assert TABLE.preview(table).width > 20
    assert TABLE.preview(table.slice(0, 0)).width > 20


def test_rows_differ_where_any_cell_does() -> None:
    table = arrow.table(
        {"a": [0.5, np.nan, 2.0, 0.5] * 10, "b": arrow.array(["x", None, "y", "x"] * 10).dictionary_encode()}
    )
    codec = TABLE.fit([table], Row, Options(rare=1))
    assert TABLE.differing(table, TABLE.take(table, range(40)), codec) == []
    altered = table.set_column(0, "a", arrow.array([0.5, np.nan, 2.0, 0.25, *[0.5, np.nan, 2.0, 0.5] * 9]))
    altered = altered.set_column(1, "b", arrow.array(["x", "z", *table.column("b").to_pylist()[2:]]))
    assert TABLE.differing(table, altered, codec) == [1, 3]


def test_rows_are_taken_and_joined() -> None:
    table = arrow.table({"a": list(range(10))})
    assert TABLE.take(table, range(3, 6)).column("a").to_pylist() == [3, 4, 5]
    assert TABLE.take(table, [7, 0]).column("a").to_pylist() == [7, 0]
    assert TABLE.take(table, range(0, 6, 2)).column("a").to_pylist() == [0, 2, 4]
    assert TABLE.take(table, []).num_rows == 0
    assert TABLE.collect([table.slice(0, 4), table.slice(4)]).equals(table)


def test_a_font_of_few_letters() -> None:
    assert drawable("M\u00fcnchen\t\u4e2d", plain=True) == "Munchen??"
    assert drawable("M\u00fcnchen\t\u4e2d", plain=False) == "M\u00fcnchen?\u4e2d"
