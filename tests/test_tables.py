"""Tables end to end: fitted, drawn under conditions and constraints, filled in, written, and judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

import morphogen as mg
from morphogen.cli import run
from morphogen.core.errors import UserError
from morphogen.core.model import Batch
from morphogen.core.space import Tokens
from morphogen.data.split import split_by_hash
from morphogen.data.tables import TableSource
from morphogen.evaluation import references
from morphogen.evaluation import tables as judge
from morphogen.evaluation.chance import area_error
from morphogen.families.autoregressive.model import Autoregressive
from morphogen.families.autoregressive.options import ColumnOptions, Options
from morphogen.modalities.table import constraints
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.options import Options as TableOptions
from morphogen.pipeline import Pipeline

ROWS = 600
TINY: dict[str, Any] = {"columns": {"width": 32, "embedding": 32, "dropout": 0.0}}
TRAIN: dict[str, Any] = {"steps": 300, "batch": 64, "precision": "fp32", "previews": 0}
WORDS = (
    "low <= high",
    "start < end",
    "total = net + tax",
    "fixed city country",
    "one-hot is0 is1 is2",
    "spouse missing unless married = yes",
    "net >= 0",
)


def ruled() -> arrow.Table:
    """Rows that obey one constraint of each form."""
    random = np.random.default_rng(3)
    low, start, city = random.normal(size=ROWS), random.integers(0, 400, ROWS), random.integers(0, 4, ROWS)
    married, which = random.random(ROWS) < 0.4, random.integers(0, 3, ROWS)
    net, tax, age = random.integers(0, 500, ROWS), random.integers(0, 100, ROWS), random.integers(18, 90, ROWS)
    return arrow.table(
        {
            "low": low,
            "high": low + random.gamma(1, 0.3, ROWS),
            "total": net + tax,
            "end": start + 1 + random.integers(0, 60, ROWS),
            "start": start,
            "net": net,
            "tax": tax,
            "city": np.array(["Rome", "Oslo", "Lima", "Bonn"])[city],
            "country": np.array(["IT", "NO", "PE", "DE"])[city],
            "spouse": [int(years) if there else None for years, there in zip(age, married, strict=True)],
            "married": np.where(married, "yes", "no"),
            **{f"is{number}": (which == number).astype(int) for number in range(3)},
        }
    )


def broken(one: constraints.Constraint, made: arrow.Table, real: arrow.Table) -> bool:
    """Whether any row does not obey; of combinations, those of the real rows are all there are."""
    if one.form == "fixed":
        rows = [
            set(zip(*(table.column(name).to_pylist() for name in one.columns), strict=True)) for table in (made, real)
        ]
        return not rows[0] <= rows[1]
    return bool(constraints.violations(one, made).any())


def untrained(table: arrow.Table, options: TableOptions) -> Pipeline:
    """A model that knows the columns by themselves, and else says anything: only limits keep it."""
    codec = TableCodec.fit([table], Tokens, options)
    torch.manual_seed(0)
    model = Autoregressive(codec.space, {}, Options(columns=ColumnOptions(width=32, embedding=32)))
    model.begin("model", [Batch(codec.encode(table))])
    assert model.columns is not None
    for head in model.columns.heads:
        head.data.normal_(0, 0.2)
    return Pipeline(family="autoregressive", modality="table", model=model, codec=codec, conditions={})


def test_constraints_are_kept_by_a_model_that_knows_nothing_of_them() -> None:
    table = ruled()
    pipe = untrained(table, TableOptions(constraints=WORDS))
    codec = pipe.codec
    assert isinstance(codec, TableCodec)
    for condition in ({}, {"low": ">=0.5"}, {"married": "no", "city": "Oslo"}, {"end": "<=200"}):
        made = pipe.sample(2000, seed=1, condition=condition)
        assert made.schema == table.schema
        for one in codec.constraints:
            assert not broken(one, made, table), (one.words, condition)
    loose = untrained(table, TableOptions()).sample(2000)
    for one in codec.constraints[:6]:
        assert broken(one, loose, table), f"{one.words} is obeyed by chance"
    with pytest.raises(UserError, match=r"no row can meet|contradicts"):
        pipe.sample(5, condition={"low": ">=1.5", "high": "<=-1.5"})


def test_what_is_filled_in_keeps_constraints_and_what_was_given() -> None:
    table = ruled()
    pipe = untrained(table, TableOptions(constraints=WORDS))
    assert isinstance(pipe.codec, TableCodec)
    holed = table
    for number, name in enumerate(("low", "end", "net", "spouse")):
        cells = table.column(name).to_pylist()
        gone = [None if row % 4 == number else cell for row, cell in enumerate(cells)]
        holed = holed.set_column(table.column_names.index(name), name, arrow.array(gone, table.schema.field(name).type))
    filled = pipe.impute(holed)
    for name in table.column_names:
        given = np.asarray(holed.column(name).is_valid().to_numpy())
        same = np.array(
            [a == b for a, b in zip(filled.column(name).to_pylist(), table.column(name).to_pylist(), strict=True)]
        )
        assert same[given].all(), name
    for one in pipe.codec.constraints:
        if one.form not in ("sum", "missing"):  # a given total stands, and a missing spouse may be none
            assert not broken(one, filled, table), one.words


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a table whose columns have to do with each other."""
    folder = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(0)
    group = random.integers(0, 3, 2000)
    age = 20 + 10 * group + random.integers(0, 10, 2000)
    pay = np.round(100.0 * age + random.normal(0, 50, 2000), 2)
    text = ["id,group,age,pay,flag"]
    for number, row in enumerate(
        zip(np.array(["a", "b", "c"])[group], age, pay, random.random(2000) < 0.3, strict=True)
    ):
        text.append(f"{number},{row[0]},{row[1] if number % 10 else ''},{row[2]},{str(row[3]).lower()}")
    (folder / "rows.csv").write_text("\n".join(text) + "\n")
    mg.fit(folder / "rows.csv", out=folder / "model", options=TINY, train=TRAIN, say=None)
    return folder


def test_rows_look_like_the_real_ones(fitted: Path) -> None:
    pipe = mg.load(fitted / "model")
    real = arrow_csv.read_csv(fitted / "rows.csv").drop_columns(["id"])
    made = pipe.sample(2000, seed=5).drop_columns(["id"])
    assert made.column_names == real.column_names
    assert made.schema.types == real.schema.types
    ages = np.array([cell for cell in made.column("age").to_pylist() if cell is not None])
    assert stats.binomtest(2000 - len(ages), 2000, 0.1).pvalue > 1e-3
    assert judge.two_sample(real, made) < 0.65 < judge.two_sample(real, references.independent(real, 2000))
    whole = pipe.sample(30, seed=2)
    assert pipe.sample(1, seed=9).drop_columns(["id"]).equals(whole.slice(7, 1).drop_columns(["id"]))
    assert whole.column("id").to_pylist() == list(range(30))
    nats = pipe.log_likelihood(whole.slice(0, 20))
    odd = whole.slice(0, 20).set_column(
        1, "group", arrow.array(["a" if g != "a" else "c" for g in whole.column("group").to_pylist()[:20]])
    )
    assert (pipe.log_likelihood(odd) < nats).float().mean() > 0.9


def test_a_cell_that_does_not_fit_its_row_is_told(fitted: Path) -> None:
    pipe = mg.load(fitted / "model")
    rows = pipe.sample(200, seed=3)
    wrong = rows.set_column(3, "pay", arrow.array(rows.column("pay").to_pylist()[::-1]))
    moved = np.abs(np.array(rows.column("pay").to_pylist()) - np.array(wrong.column("pay").to_pylist())) > 1000
    before, after = pipe.surprise(rows), pipe.surprise(wrong)
    assert before.column_names == ["group", "age", "pay", "flag"]
    assert (after.column("pay").to_numpy() > before.column("pay").to_numpy())[moved].mean() > 0.9
    assert np.allclose(before.column("flag").to_numpy().mean(), after.column("flag").to_numpy().mean(), atol=0.1)


def test_the_command_line(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(fitted / "model"), fitted / "some"
    asked = ["--condition", "age=25..34", "--condition", "group=b", "--condition", "pay>=3000"]
    assert run(["sample", model, "-n", "500", *asked, "--out", str(out)]) == 0, capsys.readouterr().err
    table = arrow_csv.read_csv(out / "rows.csv").to_pydict()
    assert set(table["group"]) == {"b"}
    assert all(25 <= age <= 34 for age in table["age"])
    assert min(table["pay"]) >= 3000
    assert json.loads((out / "samples.json").read_text())["condition"]["age"] == "25..34"
    assert run(["replay", model, str(out)]) == 0, capsys.readouterr().err
    assert run(["impute", model, str(fitted / "rows.csv"), "--out", str(fitted / "filled")]) == 0
    filled = arrow_csv.read_csv(fitted / "filled" / "rows.csv")
    assert filled.column("age").null_count == 0
    assert filled.column("pay").equals(arrow_csv.read_csv(fitted / "rows.csv").column("pay"))
    assert run(["sample", model, "-n", "30", "--condition", "group=all", "--out", str(fitted / "even")]) == 0
    even = arrow_csv.read_csv(fitted / "even" / "rows.csv").column("group").to_pylist()
    assert sorted(even[::10]) == ["a", "b", "c"]
    assert even == [value for value in even[::10] for _ in range(10)]
    assert run(["replay", model, str(fitted / "even")]) == 0, capsys.readouterr().err
    twice = fitted / "twice"
    assert run(["impute", model, str(fitted / "rows.csv"), "--draws", "2", "--out", str(twice)]) == 0
    draws = [arrow_csv.read_csv(twice / f"draw-{number}" / "rows.csv").column("age").to_numpy() for number in (1, 2)]
    gone = np.arange(2000) % 10 == 0
    assert (draws[0] == draws[1])[~gone].all()
    assert (draws[0] != draws[1])[gone].mean() > 0.5
    for wrong, complaint in (
        ("pay=all", "no turn for each"),
        ("agee=3", "did you mean 'age'"),
        ("group=d", "known: "),
        ("id=3", "which is not modelled"),
        ("age=", "expected NAME=VALUE"),
    ):
        assert run(["sample", model, "--condition", wrong, "--out", str(fitted / "no")]) == 2
        assert complaint in capsys.readouterr().err
    assert run(["inspect", str(fitted / "rows.csv")]) == 0
    said = capsys.readouterr().out
    assert "id: key" in said
    assert "10.0% missing" in said


def test_flags_of_columns_and_what_is_settled_by_the_number_of_rows(fitted: Path, tmp_path: Path) -> None:
    command = ["fit", str(fitted / "rows.csv"), "--train.steps", "2", "--train.batch", "8", "--train.precision", "fp32"]
    asked = ["--options.columns.width", "48", "--options.columns.weight-decay", "0.01"]
    assert run([*command, *asked, "--out", str(tmp_path / "model")]) == 0
    columns = json.loads((tmp_path / "model" / "config.json").read_text())["options"]["columns"]
    assert columns == {"width": 48, "embedding": 256, "dropout": 0.4, "weight_decay": 0.01, "in_order": 0.5}
    many = ColumnOptions().settled(300_000)
    assert many.dropout == pytest.approx(0.4 / 10**0.5, abs=1e-3)
    assert many.weight_decay == pytest.approx(0.03)


def test_data_frames_come_back_as_such(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    frame = pandas.DataFrame({"x": random.normal(size=300), "k": pandas.Categorical(random.choice(["u", "v"], 300))})
    pipe = mg.fit(frame, out=tmp_path / "model", options=TINY, train={**TRAIN, "steps": 5, "previews": 1}, say=None)
    made = mg.load(tmp_path / "model").sample(10)
    assert made.dtypes.to_dict() == frame.dtypes.to_dict()
    holed = frame.copy()
    holed.loc[::2, "x"] = None
    filled = pipe.impute(holed)
    assert filled["x"].notna().all()
    assert (filled["x"][1::2] == frame["x"][1::2]).all()


def test_a_folder_of_train_and_test(tmp_path: Path) -> None:
    table = arrow.table({"a": list(range(50)) * 4, "b": ["x", "y"] * 100})
    for part in ("train", "test"):
        parquet.write_table(table, tmp_path / f"{part}.parquet")
    mg.fit(tmp_path, out=tmp_path / "model", options=TINY, train={**TRAIN, "steps": 2}, say=None)
    assert json.loads((tmp_path / "model" / "split.json").read_text())["held_out"] == list(range(200, 400))


@pytest.mark.parametrize(
    "table", [{"a": [1, 2, 3, 4, 5]}, {"a": [1.5, None, 2.5, 1.5, 3.0], "b": ["x", None, "y", "x", "x"]}]
)
def test_the_smallest_tables(tmp_path: Path, table: dict[str, list[Any]]) -> None:
    pipe = mg.fit(
        arrow.table(table), out=tmp_path / "model", options=TINY, train={**TRAIN, "steps": 2, "previews": 1}, say=None
    )
    assert pipe.sample(7).num_rows == 7


def two_groups() -> arrow.Table:
    random = np.random.default_rng(1)
    group = random.random(ROWS) < 0.3
    return arrow.table(
        {
            "id": list(range(ROWS)),
            "x": np.where(group, 4.0, 0.0) + random.normal(size=ROWS),
            "k": np.where(group, "yes", "no"),
            "n": [None if gone else int(value) for gone, value in zip(group, random.integers(0, 9, ROWS), strict=True)],
            "net": random.integers(0, 50, ROWS),
        }
    )


@pytest.mark.parametrize("family", ["vae", "diffusion"])
def test_other_families_learn_rows(tmp_path: Path, family: str) -> None:
    table = two_groups()
    options = {"width": 16} | ({"prior_width": 64} if family == "vae" else {})
    train = {**TRAIN, "steps": 800, "batch": 128, "lr": 3e-3}
    pipe = mg.fit(table, family=family, out=tmp_path / "model", options=options, train=train, say=None)
    made = mg.load(tmp_path / "model").sample(1500, seed=3)
    assert made.schema == table.schema
    assert made.column("id").to_pylist() == list(range(1500))
    assert made.slice(700, 300).drop(["id"]).equals(pipe.sample(300, seed=703).drop(["id"]))
    real = table.drop(["id"])
    assert judge.shape(real, made.drop(["id"])) > 0.9
    both, apart = (judge.two_sample(real, one) for one in (made.drop(["id"]), references.independent(real, ROWS)))
    assert both < apart - 0.1
    with pytest.raises(UserError, match="no conditions on columns"):
        pipe.sample(3, condition={"k": "yes"})
    with pytest.raises(UserError, match="cannot fill in; fit with --family autoregressive"):
        pipe.impute(table)


def test_a_gan_through_a_vae_of_rows(tmp_path: Path) -> None:
    table = two_groups()
    with pytest.raises(UserError, match="--through"):
        mg.fit(table, family="gan", out=tmp_path / "none", train=TRAIN, say=None)
    options = {"width": 16, "prior": "normal"}
    mg.fit(table, family="vae", out=tmp_path / "vae", options=options, train={**TRAIN, "steps": 400}, say=None)
    mg.fit(
        table,
        family="gan",
        through=tmp_path / "vae",
        out=tmp_path / "gan",
        train={**TRAIN, "steps": 50, "previews": 1},
        say=None,
    )
    pipe = mg.load(tmp_path / "gan")
    made = pipe.sample(200)
    assert made.schema == table.schema
    assert made.slice(50, 50).drop(["id"]).equals(pipe.sample(50, seed=50).drop(["id"]))
    with pytest.raises(UserError, match="no conditions on columns"):
        pipe.sample(3, condition={"k": "yes"})


@pytest.mark.parametrize("family", ["vae", "diffusion"])
def test_constraints_that_a_family_cannot_keep_are_refused_before_training(tmp_path: Path, family: str) -> None:
    with pytest.raises(UserError, match=r"cannot keep constraints.*fit autoregressive"):
        mg.fit(
            two_groups().append_column("most", arrow.array([50 + row % 7 for row in range(ROWS)])),
            family=family,
            codec={"constraints": ("net <= most",)},
            out=tmp_path / "model",
            train=TRAIN,
            say=None,
        )


def test_the_judge_against_closed_forms() -> None:
    real = arrow.table({"x": list(range(100)), "k": ["a"] * 50 + ["b"] * 50})
    assert judge.shape(real, real) == judge.trend(real, real) == 1
    shifted = arrow.table({"x": list(range(20, 120)), "k": ["a"] * 80 + ["b"] * 20})
    assert judge.shape(real, shifted) == pytest.approx((0.8 + 0.7) / 2)
    random = np.random.default_rng(0)
    x = random.normal(size=3000)
    pair = arrow.table({"x": x, "y": 0.8 * x + 0.6 * random.normal(size=3000)})
    apart = references.independent(pair, 3000)
    assert judge.trend(pair, apart) == pytest.approx(0.6, abs=0.03)
    assert judge.shape(pair, apart) > 0.97
    assert judge.two_sample(pair, apart) > 0.65
    assert judge.two_sample(pair.slice(0, 1500), pair.slice(1500)) == pytest.approx(0.5, abs=0.04)
    labelled = pair.append_column("k", arrow.array(np.where(x > 0, "yes", "no")))
    assert judge.utility(labelled, labelled, "k")[0] > 0.99
    assert judge.utility(references.independent(labelled, 3000), labelled, "k")[0] == pytest.approx(0.5, abs=0.1)


RANKS = (lambda x: -x, lambda x: -np.abs(x), lambda x: x)  # by which low, middle and high are told best


def test_utility_of_classes_and_numbers() -> None:
    """Of classes whose noise is known the area is known, and so is the share of a number that can be told."""
    random = np.random.default_rng(0)
    x = random.normal(size=8000)
    kinds = np.digitize(x + 0.7 * random.normal(size=8000), [-0.6, 0.6])
    number = x + random.normal(size=8000)
    table = arrow.table({"x": x, "kind": np.array(["low", "middle", "high"])[kinds], "number": number})
    train, test = table.slice(0, 6000), table.slice(6000)
    value, error = judge.utility(train.drop(["number"]), test.drop(["number"]), "kind")
    best = np.mean([roc_auc_score(kinds[6000:] == kind, rank(x[6000:])) for kind, rank in enumerate(RANKS)])
    assert best - 0.03 < value < best + 0.01
    assert error == pytest.approx(area_error(value, 670, 1330), rel=0.4)
    value, error = judge.utility(train.drop(["kind"]), test.drop(["kind"]), "number")
    assert value == pytest.approx(0.5, abs=4 * error)
    assert 0.005 < error < 0.05
    # A class that is never made is told by a coin.
    train, test = train.drop(["number"]), test.drop(["number"])
    made = train.filter(compute.not_equal(train.column("kind"), "high"))
    assert judge.utility(made, test, "kind")[0] < judge.utility(train, test, "kind")[0] - 0.05
    alone = train.slice(0, 1).set_column(1, "kind", arrow.array(["new"]))
    many = arrow.concat_tables([train, train, alone])  # of which some are kept to tell when to stop
    assert judge.utility(many, test, "kind")[0] > 0.7
    names = arrow.array([str(at) for at in range(8000)])
    with pytest.raises(UserError, match="classes of at least 10 rows"):
        judge.utility(
            train.append_column("name", names.slice(0, 6000)), test.append_column("name", names.slice(6000)), "name"
        )


def test_rows_that_are_alike_stay_together_unless_many_are() -> None:
    few = TableSource(arrow.table({"a": [*range(100), 0]}), "table", "few")
    assert few.item_names()[0] == few.item_names()[100]
    many = TableSource(arrow.table({"a": [0, 1] * 1000}), "table", "many")
    assert len(set(many.item_names())) == 2000
    held_out = split_by_hash(many.item_names())
    assert 50 < held_out[::2].sum() < 150
    assert 50 < held_out[1::2].sum() < 150
