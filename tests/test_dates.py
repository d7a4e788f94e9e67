"""Dates and times: their cycles are modelled by fields of their own, and every cell stays exact."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute
import pytest
import torch

import morphogen as mg
from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.date_parts import Clock, DatePartColumn, Wishes
from morphogen.modalities.table.options import Options, TableQuery
from morphogen.modalities.table.units import Units

HOUR, DAY, START = 3600, 86_400, 1_262_304_000  # seconds; the first of January 2010, a Friday
RANDOM = np.random.default_rng(0)
ROWS = 2000


def column(seconds: Any, kind: arrow.DataType, missing: float = 0.0) -> arrow.Array:
    """Return dates or times of the Arrow type `kind`, a share of them missing."""
    ticks = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.get(getattr(kind, "unit", ""), 1)
    values = np.asarray(seconds) // DAY if arrow.types.is_date32(kind) else np.asarray(seconds) * ticks
    whole = arrow.int32() if kind.bit_width == 32 else arrow.int64()
    return arrow.array(values, whole, mask=RANDOM.random(len(values)) < missing).cast(kind)


def fitted(**columns: arrow.Array) -> tuple[TableCodec, arrow.Table]:
    table = arrow.table(columns)
    return TableCodec.fit([table], Row, Options()), table


def parts_of(codec: TableCodec) -> list[str]:
    return [f"{one.of} {one.part}" for one in codec.columns.values() if isinstance(one, DatePartColumn)]


def test_only_parts_that_return_are_fields() -> None:
    hours = START + HOUR * RANDOM.integers(0, 24 * 900, ROWS)
    others = np.random.default_rng(1).permutation(hours)  # two columns that follow each other would share their parts
    codec, _ = fitted(
        years=column(others, arrow.timestamp("s")),
        dates=column(hours, arrow.date32()),
        week=column(START + RANDOM.integers(0, 7 * DAY, ROWS), arrow.timestamp("us")),
        noon=column(START + HOUR * 12 + DAY * RANDOM.integers(0, 70, ROWS), arrow.timestamp("s")),
        clock=column(RANDOM.integers(0, DAY, ROWS), arrow.time32("s")),
        span=column(RANDOM.integers(0, 90 * DAY, ROWS), arrow.duration("s")),
        number=arrow.array(hours),
    )
    assert parts_of(codec) == [
        "years hour", "years weekday", "years month", "dates weekday", "dates month", "week hour", "noon weekday",
    ]  # fmt: skip
    assert "modelled by hour, weekday and month, too" in codec.notes[0]


KINDS = [
    arrow.date32(), arrow.timestamp("s"), arrow.timestamp("ns"), arrow.timestamp("us", "UTC"),
    arrow.timestamp("s", "Europe/Berlin"), arrow.timestamp("ms", "America/New_York"), arrow.timestamp("s", "+05:30"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("step", [1, 1800, HOUR])
def test_rows_are_decoded_to_the_cells_that_they_were_encoded_to(kind: arrow.DataType, step: int) -> None:
    for count, years in ((60, 80), (ROWS, 3)):
        seconds = START + step * RANDOM.integers(0, years * 365 * DAY // step, count)
        codec, table = fitted(when=column(seconds, kind, 0.1), x=arrow.array(RANDOM.normal(size=count)))
        assert parts_of(codec)
        x = codec.encode(table)
        assert x[:, 0].eq(codec.columns["when"].missing_cell).sum() == table.column("when").null_count
        decoded = codec.decode(x, Noise.consecutive(5, count))
        assert torch.equal(codec.encode(decoded), x)
        assert TableCodec.from_state(*codec.state()).decode(x, Noise.consecutive(5, count)).equals(decoded)
        assert not decoded.equals(table), "nothing but the cells is known"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_dates_of_rare_months_and_weekdays_come_back_to_their_cells(kind: arrow.DataType) -> None:
    """A rare month has the cell of the nearest frequent one, of which the cell of the date may hold no day."""
    random = np.random.default_rng(15)
    days = START // DAY + random.integers(0, 80 * 365, 4000)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    common = ((months >= 4) & (months <= 9) & ((days + 3) % 7 < 5)).nonzero()[0][:300]
    rare = ((months < 4) | (months > 9) | ((days + 3) % 7 > 4)).nonzero()[0]
    seldom = [rare[(months[rare] == month)][:4] for month in (1, 2, 3, 10, 11, 12)]
    days = np.concatenate((days[common], days[np.concatenate(seldom)]))
    seconds = days * DAY + HOUR * random.integers(8, 17, len(days))
    codec, table = fitted(when=column(seconds, kind), x=arrow.array(random.normal(size=len(days))))
    assert len(parts_of(codec)) > 1
    x = codec.encode(table)
    assert torch.equal(codec.encode(codec.decode(x, Noise.consecutive(5, len(days)))), x)


def test_of_a_rare_value_a_date_in_the_same_cell_is_the_next_best() -> None:
    """May and June are frequent; the cell of June may be met by October, that of May by no day there."""
    clock, units = Clock(1), Units()
    first, last = (int(np.datetime64(day, "D").astype(np.int64)) for day in ("2021-10-02", "2021-12-20"))
    nearest = {"month": np.where(np.arange(24) < 6, 5, 6)}
    for begin, month, missed in ((first, 6, False), (first, 5, True), (first - 150, 6, False)):
        wishes = Wishes(clock, units, {"month": np.array([month])}, nearest)
        placed = wishes.place(np.array([last - 5]), np.array([begin]), np.array([last]))
        own = clock.part("month", placed)[0]
        assert (nearest["month"][own] != month) == missed
        assert begin == first or own == 6, "the wished month itself where there is a day of it"


def test_the_nearest_day_with_the_wished_parts_is_chosen() -> None:
    """Against a search through every hour; where no hour has all parts, the most important ones are met."""
    clock, units, count = Clock(DAY, "s"), Units(step=HOUR), 300
    bottom = RANDOM.integers(350_000, 400_000, count)
    top = bottom + RANDOM.choice([1, 5, 30, 200, 2000, 20_000], count)
    counted = RANDOM.integers(bottom, top)
    wanted = {name: RANDOM.integers(-1, most, count) for name, most in (("hour", 24), ("weekday", 7), ("month", 13))}
    wanted["month"][wanted["month"] == 0] = -1
    placed = Wishes(clock, units, wanted).place(counted, bottom, top)
    assert (placed >= bottom).all()
    assert (placed < top).all()
    for row in range(count):
        every = np.arange(bottom[row], top[row])
        own = {name: np.full(len(every), one[row]) for name, one in wanted.items()}
        missed = Wishes(clock, units, own).mismatch(units.restore(every))
        assert missed[placed[row] - bottom[row]] == missed.min(), row
        days = np.abs(every // 24 - counted[row] // 24)[missed == missed.min()]
        assert missed.min() or abs(placed[row] // 24 - counted[row] // 24) == days.min(), row


def test_a_condition_on_a_date_is_one_on_its_parts_and_holds_exactly() -> None:
    seconds = START + 600 * RANDOM.integers(0, 144 * 500, ROWS)
    codec, table = fitted(when=column(seconds, arrow.timestamp("s", "Europe/Berlin"), 0.1))
    fields = {part: at for at, part in enumerate(["cell", "hour", "weekday", "month"])}
    assert codec.space.fields[fields["month"]].size == 13
    low, high = datetime.datetime(2010, 6, 2, 8, 10), datetime.datetime(2010, 6, 2, 10, 20)  # a Wednesday
    for condition, hours, weekdays, months in (
        (f"{low}..{high}", {8, 9, 10}, {2}, {6}), (str(low), {8}, {2}, {6}), (f"{low}|{high}", {8, 10}, {2}, {6}),
        ("2010-05-31 23:00:00..2010-06-01 00:30:00", {23, 0}, {0, 1}, {5, 6}),
    ):  # fmt: skip
        (request,) = codec.requests(TableQuery(condition={"when": condition}), Noise.consecutive(0, 50))
        assert request.evidence is not None
        likelihoods = request.evidence.likelihoods
        assert set(likelihoods[fields["hour"]].nonzero().flatten().tolist()) == hours
        assert set(likelihoods[fields["weekday"]].nonzero().flatten().tolist()) == weekdays
        assert {1 + month for month in likelihoods[fields["month"]].nonzero().flatten().tolist()} == months
        x = torch.stack([torch.multinomial(likelihoods[at], 50, replacement=True) for at in range(4)], dim=1)
        for value in codec.finish(x, request).column("when").to_pylist():
            naive = value.replace(tzinfo=None)
            if "|" in condition:
                assert naive in (low, high)
            elif condition == str(low):
                assert naive == low
            elif condition == f"{low}..{high}":
                assert low <= naive <= high
    (request,) = codec.requests(TableQuery(condition={"when": "2010-02-01..2011-04-01"}), Noise.consecutive(0, 5))
    assert request.evidence is not None
    assert set(request.evidence.likelihoods) == {0}, "such a range leaves every hour, weekday and month"
    mask = RANDOM.random((len(table), 1)) < 0.5
    assert torch.equal(codec.observe(table, mask).known, torch.from_numpy(~mask).expand(-1, 4))


def test_the_order_of_two_dates_is_kept_to_the_second() -> None:
    start = START + RANDOM.integers(0, 700 * DAY, ROWS)
    kind = arrow.timestamp("s", "Europe/Berlin")
    table = arrow.table({"a": column(start, kind, 0.05), "b": column(start + RANDOM.integers(1, DAY, ROWS), kind)})
    codec = TableCodec.fit([table], Row, Options(constraints=("a < b",)))
    x = codec.encode(table)
    decoded = codec.decode(x, Noise.consecutive(1, ROWS))
    assert compute.all(compute.less(decoded["a"], decoded["b"])).as_py()
    names = list(codec.columns)
    for field in ('{"hour": "a"}', '{"weekday": "a"}', '{"difference": "b"}'):
        same, was = (cells[:, names.index(field)] for cells in (codec.encode(decoded), x))
        assert same.eq(was).float().mean() > 0.97, field


def test_daily_and_weekly_cycles_survive(tmp_path: Path) -> None:
    """Without fields for the parts, the synthetic amplitudes are below a fifth of the real ones."""
    hours = RANDOM.integers(0, 24 * 728, 6000)
    daily, weekly = np.cos(hours / 24 * 2 * np.pi), (START // HOUR + hours) // 24 % 7 < 2
    table = arrow.table(
        {
            "when": column(START + HOUR * hours, arrow.timestamp("s")),
            "warmth": 10 * daily + RANDOM.normal(size=len(hours)),
            "sales": 5 * weekly + RANDOM.normal(size=len(hours)),
        }
    )
    pipe = mg.fit(
        table,
        out=tmp_path / "model",
        options={"width": 64, "embedding": 32, "dropout": 0.0},
        train={"steps": 150, "batch": 256, "precision": "fp32", "previews": 0, "threads": 1},
        say=None,
    )
    made = pipe.sample(3000, seed=1)
    slopes = []
    for one in (table, made):
        at = one["when"].cast(arrow.int64()).to_numpy() // HOUR
        wave, weekend = np.cos(at / 24 * 2 * np.pi), at // 24 % 7 < 2
        warmth, sales = one["warmth"].to_numpy(), one["sales"].to_numpy()
        slopes.append((2 * (wave * warmth).mean(), sales[weekend].mean() - sales[~weekend].mean()))
    assert slopes[0] == pytest.approx((10, 5), rel=0.1)
    assert min(one / other for one, other in zip(slopes[1], slopes[0], strict=True)) > 0.7, slopes
