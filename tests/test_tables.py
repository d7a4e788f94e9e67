"""Tables end to end: fitted, sampled under conditions and constraints, imputed, written, and compared."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest
import torch
from scipy import stats

import morphogen as mg
from morphogen.anomaly import cell_nll
from morphogen.artifact import Artifact
from morphogen.cli import run
from morphogen.core.errors import UserError
from morphogen.core.model import Batch
from morphogen.core.plugins import model_for
from morphogen.core.space import Row
from morphogen.data.split import split_by_hash
from morphogen.data.tables import TableSource
from morphogen.likelihood import log_likelihood
from morphogen.modalities.table import constraints
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.features import independent_baseline
from morphogen.modalities.table.options import Options
from morphogen.modalities.table.statistics.c2st import c2st_auc
from morphogen.pipeline import Pipeline

ROWS = 600
TINY: dict[str, Any] = {"width": 32, "embedding": 32, "dropout": 0.0, "weight_decay": 0.3}
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
    """Return rows that satisfy one constraint of each form."""
    random = np.random.default_rng(3)
    low, start, city = random.normal(size=ROWS), random.integers(0, 400, ROWS), random.integers(0, 4, ROWS)
    married, category = random.random(ROWS) < 0.4, random.integers(0, 3, ROWS)
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
            **{f"is{number}": (category == number).astype(int) for number in range(3)},
        }
    )


def broken(one: constraints.Constraint, generated: arrow.Table, real: arrow.Table) -> bool:
    """Return whether any row violates the constraint; fixed combinations are those of the real rows."""
    if one.form == "fixed":
        generated_combinations, real_combinations = (
            set(zip(*(table.column(name).to_pylist() for name in one.columns), strict=True))
            for table in (generated, real)
        )
        return not generated_combinations <= real_combinations
    return bool(constraints.violations(one, generated).any())


def untrained(table: arrow.Table, **options: Any) -> Pipeline:
    """Return a model that knows the frequencies of single tokens only; constraints hold by their masks alone."""
    codec = TableCodec.fit([table], Row, Options(**options))
    torch.manual_seed(0)
    kind = model_for("autoregressive", Row)
    model = kind(codec.space, {}, kind.Options(width=32, embedding=32))
    model.initialize("model", [Batch(codec.encode(table))])
    for head in model.network.heads:
        head.data.normal_(0, 0.2)
    artifact = Artifact(family="autoregressive", modality="table", model=model, codec=codec, conditions={})
    return Pipeline(artifact)


def test_constraints_hold_whatever_the_model_has_learned() -> None:
    table = ruled()
    pipe = untrained(table, constraints=WORDS)
    codec = pipe.codec
    assert isinstance(codec, TableCodec)
    for condition in ({}, {"low": ">=0.5"}, {"married": "no", "city": "Oslo"}, {"end": "<=200"}):
        generated = pipe.sample(2000, seed=1, condition=condition)
        assert generated.schema == table.schema
        for one in codec.constraints:
            assert not broken(one, generated, table), (one.words, condition)
    loose = untrained(table).sample(2000)
    for one in codec.constraints[:6]:
        assert broken(one, loose, table), f"{one.words} holds by chance"
    with pytest.raises(UserError, match=r"no row satisfies|no row can|contradict"):
        pipe.sample(5, condition={"low": ">=1.5", "high": "<=-1.5"})


def test_a_model_that_was_sampled_from_can_be_pickled() -> None:
    pipe = untrained(ruled(), constraints=WORDS)
    condition = {"married": "no", "city": "Oslo"}
    before = pipe.sample(5, condition=condition)
    assert pickle.loads(pickle.dumps(pipe)).sample(5, condition=condition).equals(before)


def test_imputation_keeps_constraints_and_known_cells() -> None:
    table = ruled()
    pipe = untrained(table, constraints=WORDS)
    assert isinstance(pipe.codec, TableCodec)
    holed = table
    for number, name in enumerate(("low", "end", "net", "spouse")):
        cells = table.column(name).to_pylist()
        cells_left = [None if row % 4 == number else cell for row, cell in enumerate(cells)]
        holed = holed.set_column(
            table.column_names.index(name), name, arrow.array(cells_left, table.schema.field(name).type)
        )
    filled = pipe.impute(holed)
    for name in table.column_names:
        known = np.asarray(holed.column(name).is_valid().to_numpy())
        same = np.array(
            [a == b for a, b in zip(filled.column(name).to_pylist(), table.column(name).to_pylist(), strict=True)]
        )
        assert same[known].all(), name
    for one in pipe.codec.constraints:
        if one.form not in ("sum", "missing"):  # a known total stays, and a missing spouse may stay missing
            assert not broken(one, filled, table), one.words


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a table with dependent columns and of a model of it."""
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
    generated = pipe.sample(2000, seed=5).drop_columns(["id"])
    assert generated.column_names == real.column_names
    assert generated.schema.types == real.schema.types
    ages = np.array([cell for cell in generated.column("age").to_pylist() if cell is not None])
    assert stats.binomtest(2000 - len(ages), 2000, 0.1).pvalue > 1e-3
    assert c2st_auc(real, generated) < 0.65 < c2st_auc(real, independent_baseline(real, 0))
    whole = pipe.sample(30, seed=2)
    assert pipe.sample(1, seed=9).equals(whole.slice(7, 1))
    assert whole.column("id").to_pylist() == list(range(2202, 2232))  # beyond all real ones
    nats = log_likelihood(pipe, whole.slice(0, 20))
    odd = whole.slice(0, 20).set_column(
        1, "group", arrow.array(["a" if g != "a" else "c" for g in whole.column("group").to_pylist()[:20]])
    )
    assert (log_likelihood(pipe, odd) < nats).float().mean() > 0.9


def test_a_wrong_cell_has_a_large_nll(fitted: Path) -> None:
    pipe = mg.load(fitted / "model")
    rows = pipe.sample(200, seed=3)
    wrong = rows.set_column(3, "pay", arrow.array(rows.column("pay").to_pylist()[::-1]))
    far = np.abs(np.array(rows.column("pay").to_pylist()) - np.array(wrong.column("pay").to_pylist())) > 1000
    before, after = cell_nll(pipe, rows), cell_nll(pipe, wrong)
    assert before.column_names == ["group", "age", "pay", "flag"]
    frame = cell_nll(pipe, rows.to_pandas())
    assert list(frame.columns) == before.column_names
    assert np.array_equal(frame["pay"], before.column("pay").to_numpy())
    assert (after.column("pay").to_numpy() > before.column("pay").to_numpy())[far].mean() > 0.9
    assert np.allclose(before.column("flag").to_numpy().mean(), after.column("flag").to_numpy().mean(), atol=0.1)


def test_the_command_line(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(fitted / "model"), fitted / "some"
    conditions = ["--condition", "age=25..34", "--condition", "group=b", "--condition", "pay>=3000"]
    assert run(["sample", model, "-n", "500", *conditions, "--out", str(out)]) == 0, capsys.readouterr().err
    table = arrow_csv.read_csv(out / "rows.csv").to_pydict()
    assert set(table["group"]) == {"b"}
    assert all(25 <= age <= 34 for age in table["age"])
    assert min(table["pay"]) >= 3000
    assert json.loads((out / "samples.json").read_text())["query"]["condition"]["age"] == "25..34"
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
    assert run(["impute", model, str(fitted / "rows.csv"), "--imputations", "2", "--out", str(twice)]) == 0
    imputed = [
        arrow_csv.read_csv(twice / f"imputation-{number}" / "rows.csv").column("age").to_numpy() for number in (1, 2)
    ]
    missing = np.arange(2000) % 10 == 0
    assert (imputed[0] == imputed[1])[~missing].all()
    assert (imputed[0] != imputed[1])[missing].mean() > 0.5
    for wrong, complaint in (
        ("pay=all", "has too many values for 'all'"),
        ("agee=3", "did you mean 'age'"),
        ("group=d", "known: "),
        ("id=3", "of kind key, which is not modelled"),
        ("age=", "expected NAME=VALUE"),
    ):
        assert run(["sample", model, "--condition", wrong, "--out", str(fitted / "no")]) == 2
        assert complaint in capsys.readouterr().err
    assert run(["inspect", str(fitted / "rows.csv")]) == 0
    output = capsys.readouterr().out
    assert "id: key" in output
    assert re.search(r"\b(9|10)\.\d% missing", output)


def test_option_flags_and_those_that_depend_on_the_number_of_rows(fitted: Path, tmp_path: Path) -> None:
    command = ["fit", str(fitted / "rows.csv"), "--train.steps", "2", "--train.batch", "8", "--train.precision", "fp32"]
    options = ["--options.width", "48", "--options.weight-decay", "0.01"]
    assert run([*command, *options, "--out", str(tmp_path / "model")]) == 0
    saved_options = json.loads((tmp_path / "model" / "config.json").read_text())["options"]
    assert saved_options == {"width": 48, "embedding": 64, "dropout": 0.4, "weight_decay": 0.01, "in_order": 0.5}
    kind = model_for("autoregressive", Row)
    many = kind.resolve_options(kind.Options(), mg.load(tmp_path / "model").artifact.model.space, 300_000)
    assert many.dropout == pytest.approx(0.4 / 10**0.5, abs=1e-3)
    assert many.weight_decay == pytest.approx(0.03)


def test_a_model_of_a_data_frame_returns_data_frames(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    frame = pandas.DataFrame({"x": random.normal(size=300), "k": pandas.Categorical(random.choice(["u", "v"], 300))})
    pipe = mg.fit(frame, out=tmp_path / "model", options=TINY, train={**TRAIN, "steps": 5, "previews": 1}, say=None)
    generated = mg.load(tmp_path / "model").sample(10)
    assert generated.dtypes.to_dict() == frame.dtypes.to_dict()
    holed = frame.copy()
    holed.loc[::2, "x"] = None
    filled = pipe.impute(holed)
    assert filled["x"].notna().all()
    assert (filled["x"][1::2] == frame["x"][1::2]).all()


def test_a_folder_of_train_and_test(tmp_path: Path) -> None:
    table, source = arrow.table({"a": list(range(50)) * 4, "b": ["x", "y"] * 100}), tmp_path / "parts"
    source.mkdir()
    for part in ("train", "test"):
        parquet.write_table(table, source / f"{part}.parquet")
    mg.fit(source, out=tmp_path / "model", options=TINY, train={**TRAIN, "steps": 2}, say=None)
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
            "n": [
                None if missing else int(value)
                for missing, value in zip(group, random.integers(0, 9, ROWS), strict=True)
            ],
            "net": random.integers(0, 50, ROWS),
        }
    )


REFUSAL = "takes no conditions on fields and no constraints"


@pytest.mark.parametrize("family", ["vae", "diffusion"])
def test_other_families_model_rows(tmp_path: Path, family: str) -> None:
    """What they learn is tested beside them, on planted joint distributions."""
    table = two_groups()
    train = {**TRAIN, "steps": 20}
    pipe = mg.fit(table, family=family, out=tmp_path / "model", options={"width": 16}, train=train, say=None)
    generated = mg.load(tmp_path / "model").sample(300, seed=3)
    assert generated.schema == table.schema
    assert generated.column("id").to_pylist() == list(range(663, 963))  # beyond all real ones
    assert generated.slice(200, 50).equals(pipe.sample(50, seed=203))
    with pytest.raises(UserError, match=REFUSAL):
        pipe.sample(3, condition={"k": "yes"})
    with pytest.raises(UserError, match="cannot fill in; fit with --family autoregressive"):
        pipe.impute(table)


def test_a_gan_of_the_latents_of_rows(tmp_path: Path) -> None:
    table = two_groups()
    with pytest.raises(UserError, match="cannot model rows; choose one of autoregressive, diffusion, vae"):
        mg.fit(table, family="gan", out=tmp_path / "none", train=TRAIN, say=None)
    options = {"width": 16, "prior": "normal"}
    mg.fit(table, family="vae", out=tmp_path / "vae", options=options, train={**TRAIN, "steps": 20}, say=None)
    mg.fit(
        table,
        family="gan",
        autoencoder=tmp_path / "vae",
        out=tmp_path / "gan",
        train={**TRAIN, "steps": 20, "previews": 1},
        say=None,
    )
    pipe = mg.load(tmp_path / "gan")
    generated = pipe.sample(200)
    assert generated.schema == table.schema
    assert generated.slice(50, 50).equals(pipe.sample(50, seed=50))
    with pytest.raises(UserError, match=REFUSAL):
        pipe.sample(3, condition={"k": "yes"})


@pytest.mark.parametrize("family", ["vae", "diffusion"])
def test_constraints_that_a_family_does_not_support_are_refused_before_training(tmp_path: Path, family: str) -> None:
    with pytest.raises(UserError, match=r"constraints.*autoregressive"):
        mg.fit(
            two_groups().append_column("most", arrow.array([50 + row % 7 for row in range(ROWS)])),
            family=family,
            codec={"constraints": ("net <= most",)},
            out=tmp_path / "model",
            train=TRAIN,
            say=None,
        )


def test_equal_rows_are_on_one_side_of_a_split_unless_there_are_many() -> None:
    few = TableSource(arrow.table({"a": [*range(100), 0]}), "table", "few")
    assert few.item_names()[0] == few.item_names()[100]
    many = TableSource(arrow.table({"a": [0, 1] * 1000}), "table", "many")
    assert len(set(many.item_names())) == 2000
    held_out = split_by_hash(many.item_names())
    assert 50 < held_out[::2].sum() < 150
    assert 50 < held_out[1::2].sum() < 150
