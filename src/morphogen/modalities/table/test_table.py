"""Tables: what columns are taken for, what comes back, how likely cells meet a condition, and files."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from morphogen.core.errors import UserError
from morphogen.core.space import Continuous, Tokens
from morphogen.modalities.table import files, holes, personal, view
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.columns import Bins, Categories, Values, Wanted, find_column
from morphogen.modalities.table.kinds import infer
from morphogen.modalities.table.options import Options
from morphogen.modalities.table.units import Units, find_units, to_column, to_numbers

RANDOM = np.random.default_rng(0)
ROWS = 600


def mixed() -> arrow.Table:
    """A table of every kind of column."""
    day = datetime.date(2020, 1, 1)
    return arrow.table(
        {
            "id": arrow.array(range(1, ROWS + 1), arrow.int32()),
            "small": arrow.array((RANDOM.integers(0, 5, ROWS) * 10).tolist(), arrow.int8()),
            "large": arrow.array((10**18 + RANDOM.integers(0, 10**6, ROWS)).tolist()),
            "price": arrow.array(np.round(RANDOM.gamma(2, 30, ROWS), 2).tolist()),
            "real": arrow.array(RANDOM.normal(size=ROWS)),
            "half": arrow.array(RANDOM.normal(size=ROWS).astype(np.float32)),
            "money": arrow.array(
                [decimal.Decimal(int(x)) / 100 for x in RANDOM.integers(0, 10**5, ROWS)], arrow.decimal128(12, 2)
            ),
            "group": arrow.array(RANDOM.choice(["a", "b", "c"], ROWS).tolist()).dictionary_encode(),
            "word": arrow.array([None if x < 0.2 else "yes" if x < 0.6 else "no" for x in RANDOM.random(ROWS)]),
            "flag": arrow.array((RANDOM.random(ROWS) < 0.3).tolist()),
            "day": arrow.array([day + datetime.timedelta(days=int(x)) for x in RANDOM.integers(0, 900, ROWS)]),
            "hour": arrow.array(
                [
                    datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=int(x))
                    for x in RANDOM.integers(0, 9000, ROWS)
                ],
                arrow.timestamp("ms", "UTC"),
            ),
            "gone": arrow.nulls(ROWS, arrow.float64()),
            "one": arrow.array(["same"] * ROWS),
            "mail": arrow.array([f"person{x}@example.org" for x in range(ROWS)]),
            "code": arrow.array([f"AB-{x:06d}" for x in RANDOM.permutation(10**6)[:ROWS]]),
        }
    )


def test_kinds() -> None:
    table = mixed()
    kinds = {name: infer(name, table.column(name)).kind for name in table.column_names}
    assert kinds == {
        "id": "key", "small": "integer", "large": "integer", "price": "float", "real": "float", "half": "float",
        "money": "float", "group": "category", "word": "category", "flag": "boolean", "day": "datetime",
        "hour": "datetime", "gone": "constant", "one": "constant", "mail": "personal", "code": "key",
    }  # fmt: skip


def test_what_comes_back_has_the_types_the_order_and_the_precision() -> None:
    pytest.importorskip("faker")
    table = mixed()
    codec = TableCodec.fit([table], Tokens)
    back = codec.decode(codec.encode(table))
    assert back.schema == table.schema
    for name in ("small", "word", "flag", "gone", "one"):
        assert back.column(name).to_pylist() == table.column(name).to_pylist(), name
    for name in ("large", "price", "real", "half", "money", "day", "hour"):
        ours, theirs = (to_numbers(one.column(name).combine_chunks())[0].astype(np.float64) for one in (back, table))
        spread = np.ptp(theirs)
        assert np.abs(ours - theirs).mean() < 0.01 * spread, name
    cents = np.array(back.column("price").to_pylist())
    assert np.array_equal(np.round(cents, 2), cents)
    assert all(one.minute == one.second == 0 for one in back.column("hour").to_pylist())
    assert not set(back.column("mail").to_pylist()) & set(table.column("mail").to_pylist())
    codes = back.column("code").to_pylist()
    assert all(len(one) == 9 and one[:3] == "AB-" and one[3:].isdecimal() for one in codes)
    assert back.column("id").to_pylist() == list(range(1, ROWS + 1))


def test_missing_and_order_are_kept_in_both_containers() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"b": [1.5, None, 2.5, 1.5] * 10, "a": pandas.Categorical(["x", "y", None, "x"] * 10)})
    table = files.from_frame(frame)
    codec = TableCodec.fit([table], Tokens)
    back = codec.given_back([codec.decode(codec.encode(table))])
    pandas.testing.assert_frame_equal(back, frame)


@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=30, max_size=300),
    st.integers(-(10**6), 10**6),
    st.integers(0, 10**6),
    st.sampled_from([1, 7, 100]),
)
@settings(max_examples=60, deadline=None)
def test_shares_of_whole_numbers(values: list[int], low: int, width: int, step: int) -> None:
    """How likely a cell lies in a range is the share of its numbers that do, each of which is decoded as often."""
    array = np.array(values, dtype=np.int64) * step
    low, high = low * step, (low + width) * step
    column = find_column(array, np.zeros(len(array), bool), find_units(array), bins=4, rare=1)
    if isinstance(column, Values):
        return
    chances = column.chances(Wanted(low=low, high=high))
    inside = (np.arange(4000) + 0.5) / 4000
    for first in range(0, len(column.edges), 3):
        for second in (0, 5):
            if column.edges[first, second] == column.edges[first, second + 1]:
                continue
            symbols = np.tile([first, second], (len(inside), 1))
            found, _ = column.decode(symbols, inside)
            share = ((found >= low) & (found <= high)).mean()
            assert abs(share - chances[1][first, second]) < 1e-3 + 1 / 4000
            if share > 0:
                ends = (np.full(len(found), float(end)) for end in (low, high))
                moved = column.within(found, symbols, inside, *ends)
                assert ((moved >= low) & (moved <= high)).all()


def test_values_are_encoded_to_the_cell_they_lie_in() -> None:
    array = RANDOM.normal(size=2000)
    array[:100] = 0.25
    column = find_column(array, np.zeros(2000, bool), find_units(array), bins=16, rare=1)
    assert isinstance(column, Bins)
    assert column.spikes.tolist() == [0.25]
    symbols = column.encode(array, np.zeros(2000, bool))
    low, high = (column.decode(symbols, np.full(2000, at))[0] for at in (0.0, 1 - 1e-12))
    assert ((low <= array + 1e-12) & (array <= high + 1e-12)).all()
    # Cells hold about as many values each.
    counts = np.bincount(symbols[100:, 0] * 8 + symbols[100:, 1])
    assert counts.max() < 4 * 2000 / 128


def test_rare_values_and_the_last_ones_at_the_ends_are_not_told() -> None:
    names = ["common"] * 500 + ["other"] * 496 + ["only one"] * 4
    column = TableCodec.fit([arrow.table({"name": names})], Tokens)
    x = column.encode(arrow.table({"name": names}))
    assert "only one" not in column.decode(x).column("name").to_pylist()
    array = np.concatenate([RANDOM.normal(size=5000), [1000.0, 2000.0]])
    bins = find_column(array, np.zeros(len(array), bool), find_units(array), bins=16, rare=5)
    assert isinstance(bins, Bins)
    assert bins.edges.max() <= np.sort(array)[-5]
    assert bins.edges.min() >= np.sort(array)[4]


def test_infinities_and_nan_are_values_of_their_own() -> None:
    array = np.concatenate([RANDOM.normal(size=1000), [np.inf] * 3, [np.nan] * 2, [-np.inf]])
    missing = np.zeros(len(array), bool)
    column = find_column(array, missing, find_units(array[np.isfinite(array)]), bins=16, rare=1)
    back, _ = column.decode(column.encode(array, missing), np.full(len(array), 0.5))
    assert np.array_equal(np.isnan(back), np.isnan(array))
    assert np.array_equal(np.isinf(back), np.isinf(array))


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (np.array([10, 40, 20]), Units(10, 10, -1)),
        (np.array([0.5, 1.25]), Units(50, 75, 2)),
        (np.array([np.pi, 1.0]), Units(0, 0, 0)),
        (np.array([0.001794872, 0.05]), Units(1794872, 48205128, 9)),
        (np.array([10**18, 10**18 + 1]), Units(10**18, 1, -1)),
        (np.array([1.1], dtype=np.float32), Units(11, 1, 1)),
    ],
)
def test_units(values: Any, units: Units) -> None:
    assert find_units(values) == units
    assert np.allclose(units.restore(units.count(values)), values, rtol=1e-7)


def test_asked() -> None:
    table = arrow.table(
        {
            "age": list(range(20, 60)) * 20,
            "word": ["yes", "no"] * 400,
            "day": [datetime.date(2020, 1, 1 + x % 28) for x in range(800)],
        }
    )
    codec = TableCodec.fit([table], Tokens)
    for condition, count in (
        ({"age": "30..39"}, 10), ({"age": ">=50"}, 10), ({"age": "<=20"}, 1), ({"age": 25}, 1), ({"age": "25|26"}, 2),
        ({"word": "YES"}, 1), ({"word": "yes|no"}, 2), ({"day": "2020-01-05..2020-01-07"}, 3),
    ):  # fmt: skip
        chances = next(iter(codec.asked(condition).evidence.chances.values()))
        assert chances.sum() == count, condition
    for condition, complaint in (
        ({"agee": 3}, "did you mean 'age'"),
        ({"word": "yess"}, "did you mean 'yes'"),
        ({"age": "old"}, "expected a number"),
        ({"age": "70..80"}, "no cell of column 'age'"),
        ({"age": "40..30"}, "give the smaller one first"),
        ({"age": "missing"}, "no cell of column 'age'"),
    ):
        if condition == {"age": "missing"}:
            continue  # a model may say how unlikely that is
        with pytest.raises(UserError, match=complaint):
            codec.asked(condition)


def test_forms_of_files_come_back(tmp_path: Path) -> None:
    for name, text in {
        "plain.csv": "a,b\n1,x\n2,y\n",
        "spaced.csv": "a, b, c\n1, x, ?\n2, y z, 3\n",
        "bare.csv": "1;0.5\n2;0.25\n",
        "tabs.tsv": "a\tb\n1\tx\n2\ty\n",
        "floats.csv": "a,b\n41.0,TRUE\n40.0,FALSE\n",
    }.items():
        (tmp_path / name).write_text(text)
        table = files.read(tmp_path / name)
        files.write_to(tmp_path / f"new-{name}", [table])
        again = files.read(tmp_path / f"new-{name}")
        assert again.equals(table), name
        assert (tmp_path / f"new-{name}").read_text().replace('"', "").split() == text.split(), name
    assert files.read(tmp_path / "bare.csv").column_names == ["c1", "c2"]
    parquet.write_table(mixed(), tmp_path / "rows.parquet")
    table = files.read(tmp_path / "rows.parquet")
    files.write([table.slice(0, 300), table.slice(300)], tmp_path / "out")
    assert files.read(tmp_path / "out" / "rows.parquet").equals(table)


def test_bad_files(tmp_path: Path) -> None:
    for text, complaint in (
        ("", "empty"),
        ("a,b\n1,2\n3\n", "the row '3' has 1 cells, and the others 2"),
        ("a,b,a\n1,2,3\n", "column 'a' 2 times"),
        ("a,b\n", "0 rows"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(UserError, match=complaint):
            files.read(tmp_path / "bad.csv")


def test_bad_columns() -> None:
    numbers = [str(x) for x in range(100)]
    numbers[37] = "abc"
    with pytest.raises(UserError, match="'abc' in row 37"):
        TableCodec.fit([arrow.table({"age": numbers})], Tokens)
    with pytest.raises(UserError, match="holds list"):
        TableCodec.fit([arrow.table({"lists": [[1], [2]]})], Tokens)
    with pytest.raises(UserError, match="no column"):
        TableCodec.fit([arrow.table({"gone": arrow.nulls(10)})], Tokens)
    with pytest.raises(UserError, match="did you mean 'age'"):
        TableCodec.fit([arrow.table({"age": [1, 2, 3]})], Tokens, Options(kinds={"agee": "category"}))
    with pytest.raises(UserError, match="64 bits"):
        TableCodec.fit([arrow.table({"a": arrow.array([2**63, 1], arrow.uint64())})], Tokens)


def test_an_override() -> None:
    table = arrow.table({"zip": [10115, 80331, 20095] * 40})
    assert isinstance(TableCodec.fit([table], Tokens).columns["zip"], Values)
    codec = TableCodec.fit([table], Tokens, Options(kinds={"zip": "category"}))
    assert isinstance(codec.columns["zip"], Categories)
    assert codec.decode(codec.encode(table)).equals(table)


def test_rows_as_numbers_are_normal_and_come_back() -> None:
    table = mixed().append_column("rare", arrow.array([0.0] * 300 + [None] * 100 + RANDOM.normal(size=200).tolist()))
    codec = TableCodec.fit([table], Continuous)
    assert codec.dense is not None
    x, symbols = codec.encode(table), codec.symbols(table)
    assert np.array_equal(codec.dense.decode(x), symbols)
    choices = codec.dense.space.choices
    assert choices == (5, 3, 3, 2, 3)  # small, group, word or missing, flag; rare: 0, missing, or a number
    numbers, chosen = x[:, : x.shape[1] - sum(choices)], x[:, x.shape[1] - sum(choices) :]
    assert torch.equal(chosen.unique(), torch.tensor([0.0, 1.0]))
    assert all(torch.equal(one.sum(1), torch.ones(ROWS)) for one in chosen.split(choices, dim=1))
    for column in numbers.unbind(1):  # what tells nothing is spread as well
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-4
    # Anything at all is some row.
    assert codec.decode(3 * torch.randn(50, x.shape[1])).schema == table.schema


def test_a_row_is_the_same_alone() -> None:
    table = mixed().drop_columns(["id", "mail"])
    codec = TableCodec.fit([table], Tokens)
    x = codec.encode(table)
    x[:, -2:] = torch.randint(2**16, (len(x), 2), generator=torch.Generator().manual_seed(0))
    whole = codec.decode(x)
    assert codec.decode(x[7:8]).equals(whole.slice(7, 1))


def test_holes_and_pictures() -> None:
    table = arrow.table({"a": [1, None, 3], "b": ["x", "y", None]})
    assert holes.find(table, None).tolist() == [[False, False], [True, False], [False, True]]
    assert holes.find(table, "b").sum() == 1
    with pytest.raises(UserError, match="nothing is to be filled in"):
        holes.find(table.slice(0, 1), None)
    assert view.sheet(table).width > 20


def test_patterns_keep_what_all_values_share() -> None:
    places = personal.pattern_of(["A-12x", "A-34y", "A-56z"])
    assert places[:2] == ["A", "-"]
    made = personal.fill_pattern(places, np.arange(50, dtype=np.uint64))
    assert all(one[:2] == "A-" and one[2:4].isdecimal() and one[4].islower() for one in made)
    assert len(set(made)) > 40


def test_a_column_of_its_own_type_comes_back() -> None:
    numbers, times = [1, 2, None, 3], [datetime.time(1), None, datetime.time(2, 3)]
    for kind, cells in (
        (arrow.int16(), numbers),
        (arrow.uint8(), numbers),
        (arrow.float32(), numbers),
        (arrow.decimal128(8, 1), [decimal.Decimal("1.5"), None]),
        (arrow.time32("s"), times),
        (arrow.date32(), [datetime.date(1999, 1, 1), None]),
    ):
        array = arrow.array(cells, kind)
        values, missing = to_numbers(array)
        assert to_column(values, missing, kind).equals(array), kind


def test_constraints_that_cannot_be() -> None:
    low, city = RANDOM.normal(size=ROWS), RANDOM.integers(0, 2, ROWS)
    married = RANDOM.random(ROWS) < 0.4
    net, tax = RANDOM.integers(0, 500, ROWS), RANDOM.integers(0, 100, ROWS)
    table = arrow.table(
        {
            "low": low,
            "high": low + 0.1,
            "net": net,
            "tax": tax,
            "total": net + tax,
            "city": np.array(["Rome", "Oslo"])[city],
            "country": np.array(["IT", "NO"])[city],
            "married": np.where(married, "yes", "no"),
            "spouse": [30 if there else None for there in married],
        }
    )
    for words, complaint in (
        (("low <= high", "high < low"), "no row obeys both"),
        (("net >= 10", "net <= 5"), "no value obeys both"),
        (("total = net + tax", "total <= high"), "both 'total = net \\+ tax' and 'total <= high' decide"),
        (("fixed city country", "unique city"), "decide on column 'city'"),
        (("total = net + tax", "net = tax + low"), "do not obey|which is taken for sum"),
        (("low <= hig",), "is no column and no number"),
        (("lo <= high",), "did you mean 'low'"),
        (("low is high",), "is not understood"),
        (("high <= low",), "of 600 rows do not obey 'high <= low', the first is row 0"),
        (("net >= 100",), "rows do not obey"),
        (("city <= country",), "is about numbers or dates"),
        (("spouse missing unless married = yes", "spouse missing where married = yes"), "no row obeys both"),
    ):
        with pytest.raises(UserError, match=complaint):
            TableCodec.fit([table], Tokens, Options(constraints=words))
