"""The codec of tables: kinds of columns, round trips, privacy, conditions, imputation and generated keys."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch
from scipy import stats

from morphogen.core.errors import UserError
from morphogen.core.noise import Noise
from morphogen.core.query import Query
from morphogen.core.space import Field, Row
from morphogen.modalities.table import files
from morphogen.modalities.table.categories import Categories
from morphogen.modalities.table.cells import members
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.column import CellCondition
from morphogen.modalities.table.column_types import infer
from morphogen.modalities.table.columns import Bins, Values
from morphogen.modalities.table.options import Options
from morphogen.modalities.table.units import to_numbers

RANDOM = np.random.default_rng(0)
ROWS = 600


def mixed() -> arrow.Table:
    """Return a table with a column of every kind."""
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


MIXED = mixed()


def fit(table: Any, **options: Any) -> TableCodec:
    return TableCodec.fit([table], Row, Options(**options))


def decoded(codec: TableCodec, table: Any, seed: int = 0) -> Any:
    return codec.decode(codec.encode(table), Noise.consecutive(seed, len(table)))


def test_kinds() -> None:
    kinds = {name: infer(name, MIXED.column(name)).kind for name in MIXED.column_names}
    assert kinds == {
        "id": "key", "small": "integer", "large": "integer", "price": "float", "real": "float", "half": "float",
        "money": "float", "group": "category", "word": "category", "flag": "boolean", "day": "datetime",
        "hour": "datetime", "gone": "constant", "one": "constant", "mail": "personal", "code": "key",
    }  # fmt: skip


def test_rows_come_back_with_their_types_order_and_precision() -> None:
    pytest.importorskip("faker")
    codec = fit(MIXED)
    # small; large, in cells of at least five rows
    assert codec.space.fields[:2] == (Field(6, ordered=5), Field(119, ordered=118))
    assert codec.space.fields[6:9] == (Field(5), Field(4), Field(4))  # group, word, flag: values, rare and missing
    back = decoded(codec, MIXED)
    assert back.schema == MIXED.schema
    for name in ("small", "group", "word", "flag", "gone", "one"):
        assert back.column(name).to_pylist() == MIXED.column(name).to_pylist(), name
    for name in ("large", "price", "real", "half", "money", "day", "hour"):
        ours, theirs = (to_numbers(one.column(name).combine_chunks())[0].astype(np.float64) for one in (back, MIXED))
        assert np.abs(ours - theirs).mean() < 0.01 * np.ptp(theirs), name
    cents = np.array(back.column("price").to_pylist())
    assert np.array_equal(np.round(cents, 2), cents)
    assert all(one.minute == one.second == 0 for one in back.column("hour").to_pylist())
    assert not set(back.column("mail").to_pylist()) & set(MIXED.column("mail").to_pylist())
    codes = back.column("code").to_pylist()
    assert all(len(one) == 9 and one[:3] == "AB-" and one[3:].isdecimal() for one in codes)
    assert back.column("id").to_pylist() == list(range(660, 660 + ROWS))  # beyond all that were there
    # Rows of any seed are in the cells that they were decoded from; rounding to single precision may cross an edge.
    different = codec.encode(decoded(codec, MIXED, 10**9)) != codec.encode(MIXED)
    half = list(codec.columns).index("half")
    assert different[:, half].double().mean() < 0.01
    different[:, half] = False
    assert not different.any()


def test_a_restored_codec_decodes_the_same_rows() -> None:
    codec = fit(MIXED.drop_columns(["mail"]))
    config, tensors = codec.state()
    again = TableCodec.from_state(json.loads(json.dumps(config)), tensors)
    assert again.space == codec.space
    assert again.notes == codec.notes
    assert decoded(again, MIXED).equals(decoded(codec, MIXED))


def test_a_row_depends_on_its_own_seed_alone() -> None:
    pytest.importorskip("faker")
    codec = fit(MIXED)
    x = codec.encode(MIXED)
    whole = codec.decode(x, Noise.consecutive(5, ROWS))
    assert codec.decode(x[7:8], Noise.consecutive(12, 1)).equals(whole.slice(7, 1))
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    assert codec.decode(x[order], Noise(order + 5)).equals(whole.take(order.numpy()))
    other = codec.decode(x, Noise.consecutive(10**6, ROWS))
    for name in ("price", "real", "mail", "code", "id"):
        differ = np.array(other.column(name).to_pylist()) != np.array(whole.column(name).to_pylist())
        assert differ.mean() > 0.5, name


def test_numbers_are_spread_evenly_within_their_cells() -> None:
    table = arrow.table({name: RANDOM.normal(size=5000) for name in "ab"})
    codec = fit(table)
    back = codec.decode(codec.encode(table)[:1].expand(20_000, 2), Noise.consecutive(0, 20_000))
    columns = [np.array(back.column(name).to_pylist()) for name in "ab"]
    for values, column, cell in zip(columns, codec.columns.values(), codec.encode(table)[0].tolist(), strict=True):
        assert isinstance(column, Bins)
        low, high = column.ranges()[cell]
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-3
    assert abs(np.corrcoef(columns[0], columns[1])[0, 1]) < 4 / 20_000**0.5


def test_missing_and_order_come_back_in_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"b": [1.5, None, 2.5, 1.5] * 10, "a": pandas.Categorical(["x", "y", None, "x"] * 10)})
    table = files.from_frame(frame)
    codec = TableCodec.fit([table], Row)
    back = decoded(codec, table)
    pandas.testing.assert_frame_equal(codec.gather([back.slice(0, 13), back.slice(13)]), frame)


def test_rare_categories_are_not_disclosed() -> None:
    table = arrow.table({"word": ["common"] * 500 + ["other"] * 496 + ["only one"] * 4})
    codec = fit(table)
    assert "only one" not in json.dumps(codec.state()[0])
    for seed in range(0, 10_000, 1000):
        assert set(decoded(codec, table, seed).column("word").to_pylist()) == {"common", "other", "(other)"}


def test_conditions_on_columns() -> None:
    table = arrow.table(
        {
            "age": list(range(20, 60)) * 20,
            "word": ["yes", "no"] * 400,
            "day": [datetime.date(2020, 1, 1 + x % 28) for x in range(800)],
            "id": list(range(800)),
        }
    )
    codec = fit(table)

    def request(condition: dict[str, Any]) -> Any:
        (only,) = codec.requests(Query(condition=condition), Noise.consecutive(0, 5))
        return only

    for condition, field, count in (
        ({"age": "30..39"}, 0, 10), ({"age": ">=50"}, 0, 10), ({"age": "<=20"}, 0, 1), ({"age": 25}, 0, 1),
        ({"age": "25|26"}, 0, 2), ({"age": "..22"}, 0, 3), ({"word": "YES"}, 1, 1), ({"word": "yes|no"}, 1, 2),
        ({"day": "2020-01-05..2020-01-07"}, 2, 3), ({"day": datetime.date(2020, 1, 5)}, 2, 1),
        ({"age": "missing"}, 0, 1), ({"word": None}, 1, 1),
    ):  # fmt: skip
        likelihoods = request(condition).evidence.likelihoods
        assert set(likelihoods) == {field}
        assert likelihoods[field].sum() == count, condition
    assert request({"age": "30..39"}).parsed == {"age": CellCondition(low=30, high=39)}
    assert request({}).evidence is None
    for condition, complaint in (
        ({"agee": 3}, "did you mean 'age'"),
        ({"word": "yess"}, "did you mean 'yes'"),
        ({"age": "old"}, "expected a number"),
        ({"age": "70..80"}, "no cell of column 'age' can be 70..80; it has 40 values, from 20 to 59"),
        ({"age": "40..30"}, "give the smaller one first"),
        ({"day": "2021-01-01"}, "it has 28 values, from 2020-01-01 to 2020-01-28"),
        ({"id": 3}, "column 'id' is of kind key, which is not modelled"),
    ):
        with pytest.raises(UserError, match=complaint):
            request(condition)


def test_each_value_in_turn_and_one_for_each_sample() -> None:
    table = arrow.table({"n": [1, 2] * 60, "k": ["a", "b", "c"] * 40, "x": RANDOM.normal(size=120)})
    codec = fit(table, bins=16)

    def parts(condition: dict[str, Any], count: int) -> list[tuple[list[int], dict[str, Any]]]:
        return [
            (one.noise.seeds.tolist(), {name: own.values[0] for name, own in one.parsed.items()})
            for one in codec.requests(Query(condition=condition), Noise.consecutive(7, count))
        ]

    assert parts({"k": "all"}, 7) == [([7, 8], {"k": "a"}), ([9, 10], {"k": "b"}), ([11, 12, 13], {"k": "c"})]
    combinations = parts({"n": "all", "k": "all"}, 12)
    assert [one for _, one in combinations] == [{"n": n, "k": k} for n in (1, 2) for k in "abc"]
    assert [seed for seeds, _ in combinations for seed in seeds] == list(range(7, 19))
    assert len(parts({"k": "all"}, 2)) == 2  # fewer samples than values
    assert parts({"k": ["a", "a", "b", "a"]}, 4) == [([7, 8], {"k": "a"}), ([9], {"k": "b"}), ([10], {"k": "a"})]
    first, _, last = codec.requests(Query(condition={"k": ["a", "b", "a"]}), Noise.consecutive(0, 3))
    assert first.evidence is last.evidence  # what a model prepares for it serves both
    times = arrow.table({"t": [datetime.timedelta(hours=x % 3) for x in range(60)]})
    assert len(list(fit(times).requests(Query(condition={"t": "all"}), Noise.consecutive(0, 6)))) == 3
    with pytest.raises(UserError, match="give ranges"):
        parts({"x": "all"}, 3)
    with pytest.raises(UserError, match="2 conditions for 3 samples"):
        parts({"k": ["a", "b"]}, 3)


def test_finished_numbers_satisfy_ranges_and_orders_to_the_last_digit() -> None:
    low = RANDOM.normal(size=3000)
    table = arrow.table({"low": low, "high": low + RANDOM.gamma(1, 0.3, 3000), "cents": np.round(low * 100, 2)})
    codec = fit(table, constraints=("low < high",))
    condition = {"low": "-0.1234567..0.7654321", "cents": ">=10.03"}
    (request,) = codec.requests(Query(condition=condition), Noise.consecutive(0, 3000))
    assert request.evidence is not None
    x = codec.encode(table)
    likely = (request.evidence.likelihoods[0][x[:, 0]] > 0) & (request.evidence.likelihoods[2][x[:, 2]] > 0)
    # Any two cells that leave room for the order.
    x[:, 1] = torch.maximum(x[:, 1].roll(1), codec.encode(table)[:, 1])
    rows = codec.finish(x, request).filter(arrow.array(likely.numpy()))
    lows, highs, cents = (np.array(rows.column(name).to_pylist()) for name in ("low", "high", "cents"))
    assert len(rows) > 300
    assert -0.1234567 <= lows.min() <= lows.max() <= 0.7654321
    assert (lows < highs).all()
    assert cents.min() >= 10.03
    assert np.array_equal(np.round(cents, 2), cents)


def test_a_condition_on_one_of_many_numbers_holds_to_the_last_digit() -> None:
    table = arrow.table({"pay": RANDOM.integers(1000, 90_000, 5000), "cents": np.round(RANDOM.gamma(2, 30, 5000), 2)})
    codec = fit(table)
    for name, value, expected in (
        ("pay", 50_000, {50_000}), ("pay", "50000|50001|60000", {50_000, 50_001, 60_000}), ("cents", "50.01", {50.01}),
    ):  # fmt: skip
        (request,) = codec.requests(Query(condition={name: value}), Noise.consecutive(0, 300))
        assert request.evidence is not None
        ((field, likelihood),) = request.evidence.likelihoods.items()
        x = torch.zeros(300, 2, dtype=torch.int64)
        x[:, field] = torch.multinomial(likelihood, 300, replacement=True)
        assert set(codec.finish(x, request).column(name).to_pylist()) == expected
    for name, impossible in (("pay", 50_000.5), ("pay", 10**30), ("cents", 50.015)):
        with pytest.raises(UserError, match=rf"no cell of column '{name}' can be .*; it has values from \d"):
            next(codec.requests(Query(condition={name: impossible}), Noise.consecutive(0, 3)))


def test_combined_columns_are_conditioned_one_by_one() -> None:
    table = arrow.table({"city": ["Rome", "Oslo", "Bari"] * 30, "country": ["IT", "NO", "IT"] * 30})
    codec = fit(table, constraints=("fixed city country",))
    assert codec.space.fields == (Field(5),)

    def likelihood(**condition: str) -> Any:
        (request,) = codec.requests(Query(condition=condition), Noise.consecutive(0, 1))
        assert request.evidence is not None
        return request.evidence.likelihoods[0]

    assert likelihood(country="IT").sum() == 2
    assert likelihood(country="IT", city="Rome").sum() == 1
    with pytest.raises(UserError, match="no row of the training data satisfies the conditions on"):
        likelihood(country="NO", city="Rome")
    assert decoded(codec, table).equals(table)
    partly = np.zeros((90, 2), bool)
    partly[3, 0] = True
    with pytest.raises(UserError, match="row 3 has some of city, country but not all"):
        codec.observe(table, partly)


def test_known_cells_are_untouched() -> None:
    low = RANDOM.normal(size=ROWS)
    table = MIXED.append_column("low", arrow.array(low)).append_column("high", arrow.array(low + 1e-9))
    table = table.drop_columns(["mail"])
    codec = fit(table, constraints=("low <= high",))
    mask = RANDOM.random((ROWS, table.num_columns)) < 0.3
    observed = codec.observe(table, mask)
    for field, name in enumerate(codec.columns):
        assert np.array_equal(observed.known[:, field].numpy(), ~mask[:, table.column_names.index(members(name)[0])])
    assert torch.equal(observed.x, codec.encode(table))
    other = torch.where(observed.known, observed.x, observed.x.roll(1, 0))
    merged = codec.merge_known(other, Noise.consecutive(0, ROWS), table, mask)
    assert merged.schema == table.schema
    for at, name in enumerate(table.column_names):
        before, after = (np.array(one.column(name).to_pylist(), dtype=object) for one in (table, merged))
        assert (before == after)[~mask[:, at]].all(), name
    changed = np.array(merged.column("price").to_pylist()) != np.array(table.column("price").to_pylist())
    assert changed[mask[:, table.column_names.index("price")]].mean() > 0.9


def test_imputed_cells_are_present_unless_a_constraint_decides() -> None:
    married = RANDOM.random(ROWS) < 0.4
    table = arrow.table(
        {
            "married": np.where(married, "yes", "no"),
            "spouse": [30 + x % 9 if m else None for x, m in enumerate(married)],
        }
    )
    codec = fit(table, constraints=("spouse missing unless married = yes",))
    evidence = codec.imputation()
    x, known = torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.bool)
    about = [[one.allowed(field, x, known) for one in evidence.constraints if field in one.fields] for field in (0, 1)]
    assert sum(one is not None and not one[0, -1] for one in about[0]) == 1
    assert all(one is None for one in about[1])


def test_a_value_that_decides_whether_another_is_missing() -> None:
    flag, rows = [True, False] * 100, range(200)
    for kind, value in ((arrow.bool_(), "true"), (arrow.float64(), "1"), (arrow.int8(), "1")):
        table = arrow.table({"flag": arrow.array(flag).cast(kind), "n": [x % 7 if flag[x] else None for x in rows]})
        fit(table, constraints=(f"n missing unless flag = {value}",))
    table = arrow.table({"flag": ["yes", "no"] * 99 + ["odd", "no"], "n": [x % 7 for x in rows], "one": [1] * 200})
    table = table.append_column("m", arrow.array([None if x % 2 else 1.5 for x in rows]))
    table = table.append_column("many", arrow.array(rows))
    codec = fit(table, constraints=("m missing where flag = no",), rare=2)
    x, known = torch.zeros(1, len(codec.columns), dtype=torch.int64), torch.zeros(1, 1, dtype=torch.bool)
    allowed = [one.allowed(0, x, known.expand(1, 5)) for one in codec.imputation().constraints if 0 in one.fields]
    rare = codec.columns["flag"].field.size - 2  # it would be decoded as yes or no
    assert any(one is not None and not one[0, rare] for one in allowed)
    for words, complaint in (
        ("n missing unless one = 1", "relates column 'one', which is of kind constant"),
        ("m missing where flag = maybe", "column 'flag' never is 'maybe'"),
        ("m missing where n = few", "needs a number or date instead of 'few'"),
        ("m missing where many = 101", "has no cell of its own"),
    ):
        with pytest.raises(UserError, match=complaint):
            fit(table, constraints=(words,), rare=2, bins=2, kinds={"many": "integer"})


def test_a_constraint_names_a_value_as_it_is_written() -> None:
    words = ["yes", "Yes", "no"] * 40
    table = arrow.table({"word": words, "n": [None if word == "yes" else 1 + x % 3 for x, word in enumerate(words)]})
    fit(table, constraints=("n missing where word = yes",))
    with pytest.raises(UserError, match="rows violate"):
        fit(table, constraints=("n missing where word = Yes",))


def test_a_sum_is_not_cut_to_the_type_of_its_parts() -> None:
    parts = {name: arrow.array(RANDOM.integers(60, 120, 200), arrow.int8()) for name in "ab"}
    total = np.add(*(part.to_numpy().astype(np.int16) for part in parts.values()))
    table = arrow.table({**parts, "total": total})
    assert decoded(fit(table, constraints=("total = a + b",), rare=1), table).equals(table)


def test_a_nan_that_was_never_seen_is_missing() -> None:
    table = arrow.table({"few": [1.5, 2.5] * 500, "many": np.round(RANDOM.normal(size=1000), 2)})
    codec = fit(table)
    unseen = codec.encode(arrow.table({"few": [np.nan], "many": [np.nan]}))[0].tolist()
    assert unseen == [column.missing_cell for column in codec.columns.values()]


def test_constants_of_every_type_come_back() -> None:
    constants = {
        "date": datetime.date(2020, 1, 2),
        "time": datetime.time(3, 4),
        "duration": datetime.timedelta(days=1, hours=2),
        "moment": datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC),
        "money": decimal.Decimal("1.50"),
        "large": arrow.scalar(2**63 + 5, arrow.uint64()),
        "half": arrow.scalar(np.float16(1.5), arrow.float16()),
    }
    table = arrow.table({"x": [1, 2] * 30, **{name: arrow.repeat(value, 60) for name, value in constants.items()}})
    codec = fit(table)
    again = TableCodec.from_state(json.loads(json.dumps(codec.state()[0])), {})
    assert decoded(again, table).equals(table)


def test_tables_are_aligned_to_the_schema() -> None:
    codec = fit(MIXED)
    other = MIXED.select(MIXED.column_names[::-1]).drop_columns(["word", "id"])
    aligned = codec.align(other.append_column("id", MIXED.column("id").cast(arrow.int64())))
    assert aligned.schema == MIXED.schema
    assert aligned.column("word").null_count == ROWS
    with pytest.raises(UserError, match="unknown column 'smal'; did you mean 'small'"):
        codec.align(MIXED.append_column("smal", MIXED.column("small")))
    with pytest.raises(UserError, match="column 'small' holds string, but held int8"):
        codec.align(arrow.table({"small": ["x"]}))


def test_numbers_by_field_have_the_names_of_columns() -> None:
    table = arrow.table({"a": ["x", "y"] * 9, "b": ["x", "y"] * 9, "c": [1, 2] * 9, "one": [1] * 18})
    renamed = fit(table, constraints=("fixed a b",)).field_table(torch.tensor([[0.5, 1.5], [2.5, 3.5]]), table)
    assert renamed.to_pydict() == {"a + b": [0.5, 2.5], "c": [1.5, 3.5]}


DAYS = [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)]


def test_bad_columns() -> None:
    numbers = [str(x) for x in range(100)]
    numbers[37] = "abc"
    for table, options, complaint in (
        ({"age": numbers}, {}, "'abc' in row 37"),
        ({"lists": [[1], [2]]}, {}, "holds list"),
        ({"gone": arrow.nulls(10)}, {}, "no column of gone can be modelled"),
        ({"age": [1, 2, 3]}, {"kinds": {"agee": "category"}}, "did you mean 'age'"),
        ({"a": arrow.array([2**63, 1], arrow.uint64())}, {}, "64 bits"),
        ({"word": ["a", "b"]}, {"kinds": {"word": "integer"}}, "'word' cannot be integer: it holds string"),
        ({"raw": arrow.array([b"ab", b"cd"], arrow.binary(2))}, {}, "holds fixed_size_binary"),
        ({"lists": [[1], [2]]}, {"kinds": {"lists": "category"}}, "'lists' cannot be a category: it holds list"),
        ({"day": DAYS}, {"kinds": {"day": "category"}}, "'day' cannot be a category: it holds date32"),
        ({"day": DAYS, "n": [1, 2]}, {"constraints": ("unique day",)}, "'day' cannot be key: it holds date32"),
    ):
        with pytest.raises(UserError, match=complaint):
            fit(arrow.table(table), **options)


def test_a_chosen_kind() -> None:
    table = arrow.table({"zip": [10115, 80331, 20095] * 40})
    assert isinstance(fit(table).columns["zip"], Categories)  # by its name
    assert isinstance(fit(table, kinds={"zip": "integer"}).columns["zip"], Values)
    table = table.rename_columns(["floor"])
    assert isinstance(fit(table).columns["floor"], Values)
    codec = fit(table, kinds={"floor": "category"})
    assert isinstance(codec.columns["floor"], Categories)
    assert decoded(codec, table).equals(table)
    coded = table.column("floor").dictionary_encode()  # as a categorical column of pandas
    one = arrow.array([1] * 120).dictionary_encode()
    coded = arrow.table({"floor": coded, "one": one, "a": coded, "b": coded})
    back = decoded(fit(coded, constraints=("fixed a b",)), coded)
    assert back.schema == coded.schema
    assert back.to_pydict() == coded.to_pydict()


def test_a_schema_file_is_checked(tmp_path: Path) -> None:
    for text, complaint in (
        ("zip = 'category'", "column 'zip' is 'category'; expected lines such as kind"),
        ("[zip]\nkind = 'categry'", "column 'zip' has the kind 'categry'; expected one of integer"),
        ("[zipp]\nkind = 'category'", "unknown column in .*; did you mean 'zip'"),
        ("[zip]\nkin = 'category'", "unknown field of column 'zip' in .*; did you mean 'kind'"),
        ("[zip]\nkind = 'key'\nprotected = false", "which is always protected"),
        ("[zip]\nformat = {kind = 'numbers'}", "cannot have the format 'numbers'"),
        ("[zip]\nformat = {kind = 'moment', patern = ''}", "cannot be read"),
    ):
        (tmp_path / "schema.toml").write_text(text)
        with pytest.raises(UserError, match=complaint) as raised:
            fit(arrow.table({"zip": [1, 2]}), schema_file=tmp_path / "schema.toml")
        assert "\n" not in str(raised.value)


def test_a_chosen_key_may_mix_numbers_and_words_and_be_missing() -> None:
    names = [None, None, *(str(1000 + x) for x in range(96)), "X98", "X99"]
    codec = fit(arrow.table({"name": names, "n": [1, 2] * 50}), constraints=("unique name",))
    assert codec.column_types["name"].form == "pattern"


def test_constraints_that_cannot_be_satisfied() -> None:
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
            "day": DAYS * (ROWS // 2),
        }
    )
    for words, complaint in (
        (("low <= high", "high < low"), "no row satisfies both"),
        (("net >= 10", "net <= 5"), "no value satisfies both"),
        (("total = net + tax", "total <= high"), "both 'total = net \\+ tax' and 'total <= high' determine"),
        (("fixed city country", "unique city"), "determine column 'city'"),
        (("total = net + tax", "net = tax + low"), "violate|which is of kind sum"),
        (("low <= hig",), "is no column and no number"),
        (("lo <= high",), "did you mean 'low'"),
        (("low is high",), "is not understood"),
        (("high <= low",), "of 600 rows violate 'high <= low', the first is row 0"),
        (("net >= 100",), "rows violate"),
        (("city <= country",), "needs numbers or dates"),
        (("net <= day",), "compares int64 with date32"),
        (("spouse missing unless married = yes", "spouse missing where married = yes"), "no row satisfies both"),
    ):
        with pytest.raises(UserError, match=complaint):
            fit(table, constraints=words)
