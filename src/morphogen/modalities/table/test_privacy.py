"""No protected value of a table comes out of it: not in samples, and not in the files of its codec."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table import files
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.columns import Bins
from morphogen.modalities.table.options import Options

faker = pytest.importorskip("faker")
pandas = pytest.importorskip("pandas")

RARE = 5
ALPHABETS = {
    "en_US": "Rome", "de_DE": "Göttingen", "ru_RU": "Екатеринбург", "el_GR": "Θεσσαλονίκη", "ar_AA": "القاهرة",
    "zh_CN": "哈尔滨", "ko_KR": "부산", "tr_TR": "İzmir 🏙️",
}  # fmt: skip


def people(locale: str, rows: int, seed: int) -> Any:
    """Return a data frame of patients, with a column of each kind that personal or rare values may stand in."""
    random, make = np.random.default_rng(seed), faker.Faker(locale)
    make.seed_instance(seed)
    names = [(make.first_name(), make.last_name()) for _ in range(rows)]
    doctors = [f"Dr. {make.first_name()} {make.last_name()}" for _ in range(max(3, rows // 20))]
    city, rare = ALPHABETS[locale], [f"{ALPHABETS[locale]} {n}" for n in range(6)]
    cities = np.array([city, *rare], dtype=object)[np.minimum(random.geometric(0.7, rows) - 1, 6)]
    amounts = random.integers(10**12, 10**13, rows)
    return pandas.DataFrame(
        {
            "id": np.arange(1, rows + 1),
            "code": [f"{city[:1]}-{random.integers(10**7):07d}" for _ in range(rows)],
            "patient": [f"{first} {last}" for first, last in names],
            "email": [f"user{n}@{city[:1].encode().hex()}.example.it" if n % 7 else None for n in range(rows)],
            "phone": random.integers(491510000000, 491519999999, rows),
            "address": [make.street_address() for _ in range(rows)],
            "doctor": [doctors[n] for n in random.integers(0, len(doctors), rows)],
            "physician": pandas.Categorical([doctors[n] for n in random.integers(0, len(doctors), rows)]),
            "note": [make.sentence(nb_words=9) for _ in range(rows)],
            "city": cities,
            "town": pandas.Categorical(cities),
            "plz": random.integers(10000, 99999, rows),
            "ward": random.choice([1, 2, 3], rows),
            "level": np.where(np.arange(rows) < 3, 90210 + np.arange(rows), random.integers(1, 4, rows)),
            "pay": random.lognormal(8, 2, rows),
            "amount": amounts,
            "few": np.where(np.arange(rows) < rows - 4, 0.5, random.normal(size=rows)),
            "seen": pandas.Timestamp("2020-01-01") + pandas.to_timedelta(random.integers(0, 10**15, rows), unit="us"),
        }
    )


VERBATIM = ("city", "town", "plz", "level", "few", "ward")  # frequent values may come out
CONTINUOUS = ("pay", "amount", "seen")


def protected(frame: Any) -> dict[str, set[Any]]:
    """Return by column the values that may not come out."""
    values = {}
    for name in frame.columns:
        counts = Counter(frame[name].dropna().tolist())
        rare = name in VERBATIM or name in CONTINUOUS
        values[name] = {value for value, count in counts.items() if count < RARE or not rare}
    return values


def leaves(value: Any) -> Iterator[str]:
    """Yield all names and values in JSON, that inside texts included, and the text of base64."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield str(value)
        if isinstance(value, str) and value[:2] in ('{"', '["', "[{"):
            yield from leaves(json.loads(value))


def written(folder: Path) -> list[str]:
    """Return all that the files of a codec say, its schema's metadata decoded."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    schema = arrow.ipc.read_schema(arrow.py_buffer(base64.b64decode(config.pop("schema"))))
    metadata = [one.decode() for pair in (schema.metadata or {}).items() for one in pair]
    return [*leaves(config), *(one for text in metadata for one in leaves(text)), schema.to_string()]


def any_cells(codec: TableCodec, count: int, seed: int) -> torch.Tensor:
    """Return cells that a model may sample, those that no row had among them."""
    random = np.random.default_rng(seed)
    columns = [random.integers(0, column.field.size, count) for column in codec.columns.values()]
    return torch.from_numpy(np.stack(columns, axis=1))


@pytest.mark.parametrize(("locale", "rows"), list(zip(ALPHABETS, (30, 100, 800, 300, 100, 300, 30, 3000), strict=True)))
def test_no_protected_value_comes_out(locale: str, rows: int, tmp_path: Path) -> None:
    frame = people(locale, rows, seed=rows)
    hidden = protected(frame)
    table = files.from_frame(frame)
    codec = TableCodec.fit([table], Row)
    codec.save(tmp_path / "codec")
    words = written(tmp_path / "codec")
    text, whole = "\n".join(words), set(words)
    for name, values in hidden.items():
        leaked = {value for value in values if str(value) in whole and len(str(value)) > 4}
        leaked |= {value for value in values if isinstance(value, str) and len(value) > 5 and value in text}
        assert not leaked, f"{name}: {sorted(map(str, leaked))[:3]} in the codec's files"
    restored = TableCodec.load(tmp_path / "codec")
    for seed in range(2):
        for cells in (codec.encode(table), any_cells(codec, 300, seed)):
            made = restored.decode(cells, Noise.consecutive(1000 * seed, len(cells)))
            back = restored.gather([made])
            for name, values in hidden.items():
                leaked = set(back[name].dropna().tolist()) & values
                assert not leaked, f"{name}: {sorted(map(str, leaked))[:3]}"
                if isinstance(back[name].dtype, pandas.CategoricalDtype):
                    assert not set(back[name].cat.categories) & values, name


def test_the_threshold_is_five_rows_at_any_size() -> None:
    for rows in (20, 60, 600):
        table = arrow.table({"word": ["a"] * (rows - 9) + ["b"] * 5 + ["c"] * 4})
        column = TableCodec.fit([table], Row).columns["word"]
        assert column.state()["values"] == ["a", "b"]
    assert TableCodec.fit([table], Row, Options(rare=4)).columns["word"].state()["values"] == ["a", "b", "c"]


def test_a_column_of_rare_values_is_a_warning_with_a_choice() -> None:
    table = arrow.table({"town": [f"town {n // 2}" for n in range(60)], "n": [1, 2] * 30})
    notes = TableCodec.fit([table], Row).notes
    (warning,) = [note for note in notes if "warning" in note]
    assert "100% of the rows of town would be 'other'" in warning
    assert "--codec.rare 2" in warning
    assert "--codec.kinds town personal" in warning
    assert set(TableCodec.fit([table], Row, Options(rare=2)).columns["town"].state()["values"]) == {
        f"town {n}" for n in range(30)
    }


def test_an_edge_is_told_by_as_many_rows_as_a_value() -> None:
    random = np.random.default_rng(0)
    for rows in (7, 30, 500):
        values = np.sort(random.normal(size=rows)) * 10**6
        column = TableCodec.fit([arrow.table({"pay": values})], Row).columns["pay"]
        assert isinstance(column, Bins)
        edges = column.units.restore(column.edges)
        assert not np.isin(edges, values).any()
        assert len(edges) <= max(2, rows // RARE + 1)
        assert values[:RARE].mean() - 1e-6 <= edges.min() <= edges.max() <= values[-RARE:].mean() + 1e-6
        assert column.units.offset == 0
    column = TableCodec.fit([arrow.table({"pay": values[:4], "n": [1] * 4})], Row).columns["pay"]
    assert column.field.size == 1  # four rows: nothing but missing


def test_a_missing_person_is_not_invented() -> None:
    frame = people("de_DE", 300, seed=3)
    holes = np.random.default_rng(0).random(frame.shape) < 0.2
    codec = TableCodec.fit([files.from_frame(frame)], Row)
    restored = TableCodec.from_state(json.loads(json.dumps(codec.state()[0])), {})
    given = restored.align(files.from_frame(frame.mask(holes)))
    mask = np.array(given.to_pandas().isna())[:, : len(frame.columns)]
    observed = restored.observe(given, mask)
    doctor = list(restored.columns).index("doctor")
    assert not observed.known[:, doctor].any()  # who is behind which pseudonym is not stored
    merged = restored.merge_known(observed.x, Noise.consecutive(0, 300), given, mask)
    for name in ("patient", "email", "phone", "doctor", "id", "note"):
        assert merged.column(name).is_null().to_numpy().tolist() == mask[:, frame.columns.get_loc(name)].tolist(), name
    fields = {one for constraint in restored.imputation().constraints for one in constraint.fields}
    assert list(restored.columns).index("city") in fields  # neither missing nor rare


def test_a_doctor_in_many_rows_is_one_made_name_in_as_many_rows() -> None:
    names = [
        f"Dr. {first} {last}"
        for first, last in zip(("Anna", "Otto", "Karl", "Rosa"), ("Weber", "Klein", "Wolf", "Lang"), strict=True)
    ]
    doctors = np.repeat(names, [80, 60, 40, 20])
    table = arrow.table({"doctor": doctors, "ward": np.repeat([1, 2, 3, 4], [80, 60, 40, 20])})
    codec = TableCodec.fit([table], Row)
    made = codec.decode(codec.encode(table), Noise.consecutive(0, 200))
    pairs = Counter(zip(made.column("doctor").to_pylist(), made.column("ward").to_pylist(), strict=True))
    assert sorted(pairs.values()) == [20, 40, 60, 80]
    assert all(doctor.startswith("Dr. ") and doctor not in names for doctor, _ in pairs)


def test_a_rare_combination_stays_within_its_constraint() -> None:
    hot = np.eye(3, dtype=int)[[0] * 50 + [1] * 47 + [2] * 3]
    columns = {name: hot[:, at] for at, name in enumerate("abc")}
    places = {"city": ["Rome"] * 50 + ["Oslo"] * 47 + ["Bari"] * 3, "country": ["IT"] * 50 + ["NO"] * 47 + ["IT"] * 3}
    table = arrow.table({**columns, **places})
    codec = TableCodec.fit([table], Row, Options(constraints=("one-hot a b c", "fixed city country")))
    made = codec.decode(codec.encode(table), Noise.consecutive(0, 100)).to_pydict()
    assert set(zip(*(made[name] for name in "abc"), strict=True)) == {(1, 0, 0), (0, 1, 0)}
    assert set(zip(made["city"], made["country"], strict=True)) == {("Rome", "IT"), ("Oslo", "NO"), ("other", "other")}


def test_rare_values_may_be_missing_instead() -> None:
    table = arrow.table({"word": ["a"] * 50 + ["b"] * 3})
    made = {}
    for rare_as in ("other", "missing"):
        codec = TableCodec.fit([table], Row, Options(rare_as=rare_as))
        made[rare_as] = Counter(codec.decode(codec.encode(table), Noise.consecutive(0, 53)).column("word").to_pylist())
    assert made == {"other": {"a": 50, "other": 3}, "missing": {"a": 50, None: 3}}


def test_keys_of_a_small_type_stay_clear_of_the_real_ones() -> None:
    ids = arrow.array(range(1, 121), arrow.int8())
    codec = TableCodec.fit([arrow.table({"id": ids, "n": [1, 2] * 60})], Row)
    x = torch.zeros(120, 1, dtype=torch.int64)
    made = codec.decode(x, Noise.consecutive(0, 120)).column("id").to_pylist()
    assert len(set(made)) == 120
    assert max(made) < 0
    with pytest.raises(UserError, match="'id' of type uint8 has no room for keys"):
        TableCodec.fit([arrow.table({"id": arrow.array(range(240), arrow.uint8()), "n": [1, 2] * 120})], Row)
