"""Local clocks that are put forward and back: against zoneinfo, and no row is placed in an hour that does not exist."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as arrow
import pytest
import torch

from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.date_parts import Clock, Wishes
from morphogen.modalities.table.options import Options
from morphogen.modalities.table.units import Units

HOUR, DAY = 3600, 86_400
# Forward from 2 to 3 o'clock east and west of Greenwich; by half an hour; from 0 to 1; and over the date line.
CHANGES = {
    "Europe/Berlin": (2024, 3, 31),
    "America/New_York": (2024, 3, 10),
    "Australia/Lord_Howe": (2024, 10, 6),
    "America/Sao_Paulo": (2018, 11, 4),
    "Pacific/Apia": (2011, 12, 30),
}


def day_of(year: int, month: int, day: int) -> int:
    return int(np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "D").astype(np.int64))


def expected_instant(local: int, zone: str) -> int:
    """Return the second at which the clock of a zone shows `local`, as Python does with `fold=0`."""
    naive = datetime(1970, 1, 1) + timedelta(seconds=local)
    return int(naive.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).timestamp())


@pytest.mark.parametrize("zone", CHANGES)
def test_local_times_are_those_of_zoneinfo(zone: str) -> None:
    clock, day = Clock(DAY, "s", zone), day_of(*CHANGES[zone])
    local = np.arange((day - 10) * DAY, (day + 370) * DAY, 1800)
    assert clock.instant(local).tolist() == [expected_instant(one, zone) for one in local.tolist()]


@pytest.mark.parametrize("zone", CHANGES)
def test_skipped_hours_are_those_that_no_instant_shows(zone: str) -> None:
    clock, day = Clock(DAY, "s", zone), day_of(*CHANGES[zone])
    for days in (np.arange(day - 3, day + 4), np.arange(day, day + 1), np.arange(day + 1, day + 300)):
        local = clock.local(np.arange((days[0] - 2) * DAY, (days[-1] + 3) * DAY, 600))
        shown = np.zeros((len(days), 24), np.bool_)
        inside = (local >= days[0] * DAY) & (local < (days[-1] + 1) * DAY)
        shown[local[inside] // DAY - days[0], local[inside] % DAY // HOUR] = True
        assert np.array_equal(clock.skipped_hours(days), ~shown)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_an_hour_that_is_skipped_is_placed_on_another_day(zone: str) -> None:
    """Of two weeks with the change in their midst one Sunday has the hour; of one week none has."""
    clock, day, units = Clock(DAY, "s", zone), day_of(*CHANGES[zone]), Units(step=600)
    random, count = np.random.default_rng(0), 200
    parts = {"hour": np.full(count, 2), "weekday": np.full(count, 6)}
    for weeks, missed in ((1, True), (2, False)):
        bottom, top = (
            np.full(count, units.count(clock.instant(np.array([at * DAY])))[0]) for at in (day - 3, day - 3 + 7 * weeks)
        )
        wishes = Wishes(clock, units, parts)
        placed = wishes.place(random.integers(bottom, top), bottom, top)
        assert ((bottom <= placed) & (placed < top)).all()
        assert set(wishes.mismatch(units.restore(placed)) > 0) == {missed}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_weekend_nights_come_back_to_their_cells(zone: str) -> None:
    """Of a wide cell, one row had its Sunday in March on the day that has no two o'clock."""
    random = np.random.default_rng(4)
    days = random.integers(day_of(2010, 1, 1), day_of(2020, 1, 1), 1500)
    days = days[(days + 3) % 7 >= 4]
    local = DAY * days + HOUR * random.integers(1, 4, len(days)) + 600 * random.integers(0, 6, len(days))
    when = arrow.array(Clock(DAY, "s", zone).instant(local)).cast(arrow.timestamp("s", zone))
    codec = TableCodec.fit([table := arrow.table({"when": when, "x": random.normal(size=len(days))})], Row, Options())
    x = codec.encode(table)
    assert torch.equal(codec.encode(codec.decode(x, Noise.consecutive(2, len(days)))), x)
