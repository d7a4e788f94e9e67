"""Data frames and Arrow tables come back with their types, labels and index; models of them can be pickled."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest

from morphogen.core.errors import UserError
from morphogen.core.modality import modality
from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table import files
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.options import Mask, Options

pandas = pytest.importorskip("pandas")
RANDOM = np.random.default_rng(0)
ROWS = 60


def made(frame: Any) -> Any:
    """Return the frame encoded and decoded."""
    table = files.from_frame(frame)
    codec = TableCodec.fit([table], Row, Options(rare=1))
    return codec.gather([codec.decode(codec.encode(table), Noise.consecutive(0, len(table)))])


def test_the_index_and_the_labels_come_back_and_known_cells_stay_in_their_rows() -> None:
    frame = pandas.DataFrame(
        {"x": RANDOM.normal(size=ROWS), 2019: RANDOM.integers(0, 9, ROWS), ("a", 1): ["u", "v"] * 30}
    )
    frame.index = pandas.MultiIndex.from_arrays([RANDOM.permutation(ROWS), list("ab") * 30], names=["k", None])
    codec = TableCodec.fit([files.from_frame(frame)], Row, Options(rare=1))
    holed = frame.copy()
    holed.loc[holed.index[:30], "x"] = None
    aligned = codec.align(holed)
    mask = modality("table").mask(aligned, Mask(mask="x"))
    assert mask.shape == (ROWS, 3)
    x = codec.encode(files.from_frame(frame))
    filled = codec.gather([codec.merge_known(x, Noise.consecutive(0, ROWS), aligned, mask)])
    assert filled.index.equals(frame.index)
    assert filled.index.names == ["k", None]
    assert filled.columns.tolist() == ["x", 2019, ("a", 1)]
    holed["x"] = filled["x"]  # assigned by the index
    assert holed["x"][30:].tolist() == frame["x"][30:].tolist()
    assert holed["x"].notna().all()
    numbers = codec.field_table(codec.encode(aligned).double(), aligned)
    assert numbers.index.equals(frame.index)


def test_categories_keep_their_order_and_those_that_no_row_has() -> None:
    words = pandas.Categorical(["lo", "hi"] * 30, categories=["lo", "mid", "hi"], ordered=True)
    frame = pandas.DataFrame(
        {
            "words": words,
            "numbers": pandas.Categorical([3, 1] * 30, categories=[3, 2, 1]),
            "days": pandas.Categorical(pandas.to_datetime(["2020-02-01", "2020-01-01"] * 30)),
            "bins": pandas.cut(np.linspace(0, 1, ROWS), 3),
            "texts": ["x", "y"] * 30,
        }
    )
    frame["periods"] = pandas.Categorical(pandas.PeriodIndex(["2020-01", "2021-05"] * 30, freq="M"))
    again = made(frame)
    pandas.testing.assert_frame_equal(again, frame)
    # A category of rare rows alone is none of the model's.
    table = files.from_frame(pandas.DataFrame({"c": pandas.Categorical(["a", "b"] * 40 + ["secret"])}))
    codec = TableCodec.fit([table], Row)
    sample = codec.gather([codec.decode(codec.encode(table), Noise.consecutive(0, 81))])
    assert "secret" not in sample["c"].dtype.categories
    assert "secret" not in str(codec.state())


def test_values_of_any_type_come_back() -> None:
    frame = pandas.DataFrame(
        {
            "uuid": [uuid.UUID(int=x % 3 + 1) for x in range(ROWS)],
            "period": pandas.PeriodIndex(["2020-01", "2021-05"] * 30, freq="M"),
            "interval": pandas.arrays.IntervalArray.from_tuples([(0, 1), (1, 2)] * 30),
            "mixed": [1, "a", 2.5, True, None, -3] * 10,
            "lists": [[1, 2], [3]] * 30,
            "arrays": [np.array([1, 2]), np.array([3])] * 30,
            "records": [{"a": 1}, {"a": 2}] * 30,
            "bytes": [b"ab", b"\xff"] * 30,
            "huge": [10**25, 1] * 30,
            "uint64": np.array([2**63 + 1, 5] * 30, dtype=np.uint64),
            "exact": [decimal.Decimal("1234567890123456.78"), decimal.Decimal("1.25")] * 30,
            "time": [datetime.time(8, 33)] * ROWS,
            "whole": [20240320, 20231231, 20240228] * 20,
            "text": ["28/04/2017", "01/05/2017"] * 30,
            "sparse": pandas.arrays.SparseArray([0, 1] * 30),
        }
    )
    assert made(frame).dtypes.equals(frame.dtypes)
    codec = TableCodec.fit([files.from_frame(frame)], Row, Options(rare=1))
    again = codec.gather([codec.align(frame)])
    for name in frame.columns:
        assert list(map(repr, again[name])) == list(map(repr, frame[name])), name
    assert {type(one) for one in again["mixed"]} == {int, str, float, bool, type(None)}
    for values, complaint in (
        ([1, "1"] * 30, "column 'x' holds '1' of type str among other types"),
        ([1j] * ROWS, "column 'x' holds 1j of type complex"),
        (np.array(["a\ud800"] * ROWS, dtype=object), "column 'x' holds text that is not Unicode"),
        ([{1}] * ROWS, "column 'x' holds \\{1\\} of type set"),
    ):
        with pytest.raises(UserError, match=complaint) as raised:
            files.from_frame(pandas.DataFrame({"x": pandas.Series(values, dtype=object)}))
        assert "\n" not in str(raised.value)


def test_arrow_tables_come_back_in_their_types() -> None:
    table = arrow.table(
        {
            "large": arrow.array(["$1.50", "$2.00"] * 30, arrow.large_string()),
            "whole": arrow.array([20240320, 20231231] * 30, arrow.int32()),
            "order": arrow.DictionaryArray.from_arrays([0, 2] * 30, ["lo", "mid", "hi"], ordered=True),
            "lists": [[1.5], []] * 30,
        }
    )
    again = made(table)
    assert again.schema.equals(table.schema)
    assert again.to_pydict() == table.to_pydict()
    assert again.column("order").chunk(0).dictionary.to_pylist() == ["lo", "mid", "hi"]


def test_frames_of_polars_come_back() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {
            "e": polars.Series(["lo", "hi"] * 30, dtype=polars.Enum(["lo", "mid", "hi"])),
            "c": polars.Series(["x", "y"] * 30, dtype=polars.Categorical),
            "d": [datetime.date(2020, 1, 1), datetime.date(2020, 5, 1)] * 30,
            "t": ["28/04/2017", "01/05/2017"] * 30,
            "i": polars.Series([1, None] * 30, dtype=polars.Int16),
            "l": [[1], [2, 3]] * 30,
        }
    )
    again = made(frame)
    assert again.schema == frame.schema
    assert again.equals(frame)
