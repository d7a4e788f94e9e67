"""Two dates of a row: their difference is modelled by a field of its own, and every date stays exact."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute
import pytest
import torch
from test_dates import DAY, HOUR, START, column

import morphogen as mg
from morphogen.artifact import Artifact
from morphogen.core.errors import UserError
from morphogen.core.model import Batch
from morphogen.core.noise import Noise
from morphogen.core.plugins import model_for
from morphogen.core.space import Row
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.date_parts import DatePartColumn
from morphogen.modalities.table.differences import DifferenceColumn
from morphogen.modalities.table.options import Options, TableQuery
from morphogen.pipeline import Pipeline

ROWS = 800
DATE = arrow.date32()


def codec_of(table: arrow.Table, **options: Any) -> TableCodec:
    return TableCodec.fit([table], Row, Options(**options))


def references(codec: TableCodec) -> dict[str, str]:
    return {one.of: one.reference for one in codec.columns.values() if isinstance(one, DifferenceColumn)}


def stays(rows: int = ROWS, missing: float = 0.0, kind: arrow.DataType = DATE, seed: int = 0) -> arrow.Table:
    """Return stays of 1 + Poisson(2.5) days that cost 800 a day."""
    random = np.random.default_rng(seed)
    admitted = START + DAY * random.integers(0, 730, rows)
    days = np.minimum(1 + random.poisson(2.5, rows), 9)
    return arrow.table(
        {
            "admitted": column(admitted, kind, missing),
            "discharged": column(admitted + DAY * days, kind, missing),
            "cost": np.round(800 * days + random.normal(0, 200, rows), 2),
        }
    )


def untrained(table: arrow.Table, **options: Any) -> Pipeline:
    """Return a model that knows the frequencies of single tokens only."""
    codec = codec_of(table, **options)
    torch.manual_seed(0)
    kind = model_for("autoregressive", Row)
    model = kind(codec.space, {}, kind.Options(width=32, embedding=32))
    model.initialize("model", [Batch(codec.encode(table))])
    return Pipeline(Artifact(family="autoregressive", modality="table", model=model, codec=codec, conditions={}))


def days(table: arrow.Table, later: str = "discharged", reference: str = "admitted") -> Any:
    """Return the days between two dates, NaN where either is missing."""
    pairs = zip(table.column(later).to_pylist(), table.column(reference).to_pylist(), strict=True)
    return np.array([(a - b) / datetime.timedelta(1) if a is not None and b is not None else np.nan for a, b in pairs])


def blanked(table: arrow.Table, name: str, rows: Any) -> arrow.Table:
    """Return the table with some cells of a column missing."""
    at = table.column_names.index(name)
    values = [None if gone else one for one, gone in zip(table.column(name).to_pylist(), rows, strict=True)]
    return table.set_column(at, name, arrow.array(values, table.schema.field(name).type))


def test_the_length_of_stays_and_what_it_costs_survive(tmp_path: Path) -> None:
    """Without the difference the synthetic stays are from -400 to 400 days long, and do not correlate with the cost."""
    table = stays()
    pipe = mg.fit(
        table,
        out=tmp_path / "model",
        options={"width": 64, "embedding": 32, "dropout": 0.0},
        train={"steps": 150, "batch": 128, "precision": "fp32", "previews": 0, "threads": 1},
        say=None,
    )
    made = pipe.sample(ROWS, seed=1)
    length, real = days(made), days(table)
    assert set(length) <= set(real)
    assert length.mean() == pytest.approx(real.mean(), rel=0.2)
    assert np.corrcoef(length, made["cost"])[0, 1] > 0.7
    assert mg.load(tmp_path / "model").sample(ROWS, seed=1).equals(made)
    assert "discharged: datetime (date32[day]), " in "".join(pipe.codec.notes)
    assert any("modelled as days after admitted" in line for line in pipe.codec.notes)
    late = pipe.sample(300, condition={"discharged": "2011-03-05"})
    assert set(late["discharged"].to_pylist()) == {datetime.date(2011, 3, 5)}
    assert set(days(late)) <= set(real)
    assert days(late).mean() == pytest.approx(real.mean(), rel=0.3)


KINDS = {
    "dates": (DATE, DATE, DAY),
    "seconds": (arrow.timestamp("s"), arrow.timestamp("s"), 1),
    "minutes": (arrow.timestamp("us"), arrow.timestamp("us"), 60),
    "date, time": (DATE, arrow.timestamp("ns"), 3600),
    "time, date": (arrow.timestamp("us"), DATE, DAY),
    "midnights": (arrow.timestamp("s", "Europe/Berlin"), arrow.timestamp("s", "Europe/Berlin"), DAY),
    "zone": (arrow.timestamp("ms", "Europe/Berlin"), arrow.timestamp("ms", "Europe/Berlin"), 60),
    "two zones": (arrow.timestamp("s", "America/New_York"), arrow.timestamp("s", "UTC"), 60),
}


def local(seconds: Any, kind: arrow.DataType) -> arrow.Array:
    """Return a column of times at which the clock of the zone shows `seconds`."""
    zone = getattr(kind, "tz", None)
    if zone is None:
        return column(seconds, kind)
    naive = column(seconds, arrow.timestamp(kind.unit))
    return compute.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="latest")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("longest", [6 * HOUR, 9 * DAY])
def test_differences_come_back_to_the_cell_and_days_to_the_day(name: str, longest: int) -> None:
    random = np.random.default_rng(1)
    kind, later, step = KINDS[name]
    longest = max(longest, 9 * step)
    first = START + random.integers(0, 700 * DAY, ROWS) // step * step
    last = (first + random.integers(0, longest, ROWS)) // step * step
    missing = random.random((2, ROWS)) < 0.1
    table = arrow.table({"a": local(first, kind), "b": local(last, later), "x": random.normal(size=ROWS)})
    table = blanked(blanked(table, "a", missing[0]), "b", missing[1])
    codec = codec_of(table)
    assert references(codec) == {"b": "a"}
    x, field = codec.encode(table), list(codec.columns).index('{"difference": "b"}')
    assert np.array_equal(x[:, field] == codec.columns['{"difference": "b"}'].missing_cell, missing.any(0))
    assert TableCodec.from_state(*codec.state()).encode(table).equal(x)
    hidden = np.zeros((ROWS, 3), np.bool_)
    hidden[:, 1] = True
    filled = codec.merge_known(x, Noise.consecutive(3, ROWS), table, hidden)
    assert filled["a"].equals(table["a"])
    assert np.array_equal(np.asarray(filled["b"].is_null()), missing[1])
    both = ~missing.any(0)
    same = np.array([one == other for one, other in zip(filled["b"].to_pylist(), table["b"].to_pylist(), strict=True)])
    if step == DAY:
        assert same[both].mean() > 0.98, "all but the rarest dates and differences"
    again = codec.encode(filled)[:, field]
    assert again.eq(x[:, field]).numpy()[both].mean() > 0.97
    hidden = hidden[:, [1, 0, 2]]  # now the reference
    filled = codec.merge_known(x, Noise.consecutive(4, ROWS), table, hidden)
    again = codec.encode(filled)[:, field]
    assert filled["b"].equals(table["b"])
    assert again.eq(x[:, field]).numpy()[both].mean() > 0.97


def test_each_column_follows_the_one_from_which_it_varies_least() -> None:
    random = np.random.default_rng(2)
    ordered = START + DAY * random.integers(0, 700, ROWS)
    shipped = ordered + DAY * random.integers(1, 4, ROWS)
    delivered = shipped + DAY * random.integers(1, 3, ROWS)
    table = arrow.table(
        {
            "delivered": column(delivered, DATE),
            "born": column(START - DAY * random.integers(20 * 365, 70 * 365, ROWS), DATE),
            "ordered": column(ordered, DATE),
            "shipped": column(shipped, DATE, 0.1),
            "seen": column(START + DAY * random.integers(0, 700, ROWS), DATE),
        }
    )
    codec = codec_of(table, constraints=("shipped < delivered",))
    assert references(codec) == {"delivered": "shipped", "shipped": "ordered"}
    x = codec.encode(table)
    made = codec.decode(x, Noise.consecutive(0, ROWS))
    chain = days(made, "shipped", "ordered"), days(made, "delivered", "shipped")
    assert set(chain[0][~np.isnan(chain[0])]) == {1, 2, 3}
    assert set(chain[1][~np.isnan(chain[1])]) == {1, 2}
    weekdays = {one.of for one in codec.columns.values() if isinstance(one, DatePartColumn) and one.part == "weekday"}
    assert weekdays == {"ordered", "born", "seen", "delivered"}, "a delivery has one where the shipping date is missing"
    few = codec_of(table.slice(0, 19))
    assert references(few) == {}


def test_a_date_that_stands_for_none_has_no_difference() -> None:
    table = stays(2000)
    never = datetime.date(9999, 12, 31)
    ends = [never if row % 5 == 0 else one for row, one in enumerate(table["discharged"].to_pylist())]
    table = table.set_column(1, "discharged", arrow.array(ends, DATE))
    codec = codec_of(table)
    assert references(codec) == {"discharged": "admitted"}
    x = codec.encode(table)
    made = codec.decode(x, Noise.consecutive(0, 2000))
    assert [one == never for one in made["discharged"].to_pylist()] == [one == never for one in ends]
    assert np.nanmax(np.where(np.arange(2000) % 5 == 0, np.nan, days(made))) <= 9


def test_rare_differences_are_never_output() -> None:
    table = stays(seed=3)
    late = table["discharged"].to_pylist()
    first = table["admitted"].to_pylist()
    for row, length in enumerate((200, 201, 300, 301)):
        late[row] = first[row] + datetime.timedelta(length)
    table = table.set_column(1, "discharged", arrow.array(late, DATE))
    pipe = untrained(table)
    assert days(pipe.sample(3000)).max() <= 9
    assert "200" not in str(pipe.codec.state()[0]["columns"]['{"difference": "discharged"}'])


@pytest.mark.parametrize("kind", [DATE, arrow.timestamp("s", "Europe/Berlin")], ids=str)
def test_conditions_on_either_date_are_met(kind: arrow.DataType) -> None:
    table = stays()
    for at, name in enumerate(("admitted", "discharged")):
        table = table.set_column(at, name, local(DAY * np.asarray(table[name].cast("int32"), np.int64), kind))
    pipe = untrained(table, constraints=("admitted < discharged",))

    def wall(made: arrow.Table, name: str) -> list[datetime.datetime]:
        plain = made[name].cast(arrow.timestamp("s")) if kind == DATE else compute.local_timestamp(made[name])
        return plain.to_pylist()

    def lengths(made: arrow.Table) -> set[float]:
        pairs = zip(wall(made, "discharged"), wall(made, "admitted"), strict=True)
        return {(later - first) / datetime.timedelta(1) for later, first in pairs}

    time = "" if kind == DATE else " 00:00:00"
    day, (begin, end) = datetime.datetime(2010, 6, 9), (datetime.datetime(2010, 6, 1), datetime.datetime(2010, 6, 30))
    span = f"2010-06-01{time}..2010-06-30{time}"
    for name, other in (("admitted", "discharged"), ("discharged", "admitted")):
        made = pipe.sample(200, condition={name: f"2010-06-09{time}"})
        assert set(wall(made, name)) == {day}
        assert lengths(made) <= set(range(1, 10))
        made = pipe.sample(200, condition={name: span})
        assert begin <= min(wall(made, name))
        assert max(wall(made, name)) <= end
        assert lengths(made) <= set(range(1, 10))
        assert len(set(wall(made, other))) > 10
    made = pipe.sample(200, condition={"admitted": span, "discharged": span})
    assert begin <= min(wall(made, "admitted"))
    assert max(wall(made, "discharged")) <= end
    assert min(lengths(made)) >= 1


def test_conditions_on_both_dates_decide_the_difference() -> None:
    table = stays()
    pipe = untrained(table)
    condition = {"admitted": "2010-06-01", "discharged": "2010-06-04"}
    (request,) = pipe.codec.requests(TableQuery(condition=condition), Noise.consecutive(0, 5))
    codec = pipe.codec
    assert isinstance(codec, TableCodec)
    key = '{"difference": "discharged"}'
    difference = codec.columns[key]
    assert isinstance(difference, DifferenceColumn)
    assert request.evidence is not None
    likelihood = request.evidence.likelihoods[list(codec.columns).index(key)]
    assert likelihood.nonzero().flatten().tolist() == difference.encode(np.array([3]), np.zeros(1, np.bool_)).tolist()
    made = pipe.sample(20, condition=condition)
    assert set(days(made)) == {3}
    with pytest.raises(UserError, match=r"no row has the wanted 'discharged' so far from the wanted 'admitted' \(1 to"):
        pipe.sample(5, condition={"admitted": "2010-06-01", "discharged": "2010-09-04"})


def test_imputation_keeps_known_dates_and_their_order() -> None:
    table = stays()
    holes = np.arange(ROWS) % 4
    holed = blanked(blanked(table, "discharged", (holes == 1) | (holes == 3)), "admitted", (holes == 2) | (holes == 3))
    pipe = untrained(table)
    filled = pipe.impute(holed)
    for name in table.column_names:
        known = np.asarray(holed[name].is_valid())
        assert filled[name].filter(known).equals(holed[name].filter(known)), name
        assert not filled[name].null_count
    length = days(filled)
    assert length.min() >= 1
    assert length.max() <= 9
    alone = pipe.impute(blanked(holed, "discharged", np.ones(ROWS, np.bool_)), mask="discharged")
    assert alone["admitted"].equals(holed["admitted"])
    assert not alone["discharged"].null_count


def test_rows_whose_dates_are_missing() -> None:
    table = stays(missing=0.2)
    codec = codec_of(table)
    x = codec.encode(table)
    made = codec.decode(x, Noise.consecutive(0, ROWS))
    for name in ("admitted", "discharged"):
        assert np.array_equal(np.asarray(made[name].is_null()), np.asarray(table[name].is_null()))
    length = days(made)
    assert set(length[~np.isnan(length)]) <= set(range(1, 10))
    field = list(codec.columns).index('{"difference": "discharged"}')
    x[:, field] = codec.space.fields[field].size - 1  # as a model may say that does not know better
    again = days(codec.decode(x, Noise.consecutive(0, ROWS)))
    assert np.array_equal(np.isnan(again), np.isnan(length))
    assert set(again[~np.isnan(again)]) <= set(range(1, 10))


def test_the_state_of_a_codec_without_differences_loads_and_a_damaged_one_is_named() -> None:
    table = stays()
    state, _ = codec_of(table).state()
    key = '{"difference": "discharged"}'
    old = copy.deepcopy(state)
    del old["columns"][key]
    codec = TableCodec.from_state(old, {})
    assert codec.encode(table).shape[1] == len(state["columns"]) - 1
    for change, message in (
        ({"reference": "cost"}, "not of two columns of dates"),
        ({"reference": "none"}, "not of two columns of dates"),
        ({"of": "admitted"}, "lead from 'admitted' back"),
        ({"units": {"offset": 0, "step": 0, "digits": -1}}, "not counted in whole steps"),
        ({"days": "yes"}, "days"),
        ({"numbers": {"kind": "values", "units": state["columns"][key]["units"], "values": [3, 1]}}, "do not rise"),
    ):
        edited = copy.deepcopy(state)
        edited["columns"][key] |= change
        with pytest.raises(UserError, match=message):
            TableCodec.from_state(edited, {})
