"""Random tables of every type and dialect come back as they were; MORPHOGEN_TABLES says how many are tried."""

from __future__ import annotations

import datetime
import decimal
import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table import files
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.formats.column import ColumnFormat
from morphogen.modalities.table.options import Options

pandas = pytest.importorskip("pandas")

TRIED = settings(
    max_examples=int(os.environ.get("MORPHOGEN_TABLES", "60")),
    deadline=None,
    derandomize="MORPHOGEN_TABLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
DAY = datetime.date(2020, 1, 1)
NOON = datetime.datetime(2020, 1, 1, 12)

Random = np.random.Generator
Column = Callable[[Random, int], Any]


def days(random: Random, rows: int) -> list[datetime.date]:
    return [DAY + datetime.timedelta(days=int(x)) for x in random.integers(0, 2000, rows)]


def times(random: Random, rows: int, step: int = 60) -> list[datetime.datetime]:
    return [NOON + datetime.timedelta(seconds=step * int(x)) for x in random.integers(0, 10**6, rows)]


def dated(pattern: str, step: int = 60) -> Column:
    return lambda random, rows: [one.strftime(pattern) for one in times(random, rows, step)]


def german(x: float) -> str:
    return f"{x:,.2f}".translate(str.maketrans(",.", ".,"))


# Columns of a csv file, as texts.
WRITTEN: dict[str, Column] = {
    "integer": lambda random, rows: [str(x) for x in random.integers(-50, 50, rows)],
    "large": lambda random, rows: [str(x) for x in random.integers(10**17, 10**17 + 10**6, rows)],
    "zip": lambda random, rows: [f"{x:05d}" for x in random.choice([123, 2139, 10115, 80331], rows)],
    "float": lambda random, rows: [repr(x) for x in random.normal(size=rows).tolist()],
    "cents": lambda random, rows: [f"{x:.2f}" for x in random.gamma(2, 900, rows)],
    "german": lambda random, rows: [german(x) for x in random.gamma(2, 900, rows)],
    "euro": lambda random, rows: [f"{german(x)} €" for x in random.gamma(2, 900, rows)],
    "dollar": lambda random, rows: [f"{'-' if x < 0 else ''}${abs(x):,.2f}" for x in 2000 * random.normal(size=rows)],
    "percent": lambda random, rows: [f"{x:.1f}%" for x in random.gamma(2, 9, rows)],
    "debit": lambda random, rows: [f"({-x:.2f})" if x < 0 else f"{x:.2f}" for x in random.normal(size=rows)],
    "weight": lambda random, rows: [f"{x} kg" for x in random.integers(40, 99, rows)],
    "science": lambda random, rows: [f"{x:.6e}" for x in random.lognormal(0, 9, rows)],
    "exact": lambda random, rows: [f"{10**15 + int(x)}.{int(x) % 100:02d}" for x in random.integers(0, 10**6, rows)],
    "word": lambda random, rows: random.choice(["yes", "Yes", "no", "Grüße", "日本"], rows).tolist(),
    "boolean": lambda random, rows: random.choice(["TRUE", "FALSE"], rows).tolist(),
    "iso": dated("%Y-%m-%d"),
    "slashes": dated("%d/%m/%Y"),
    "american": dated("%m/%d/%y"),
    "points": dated("%d.%m.%Y"),
    "digits": dated("%Y%m%d"),
    "named": dated("%d %b %Y"),
    "moment": dated("%Y-%m-%d %H:%M:%S", 7),
    "zone": dated("%Y-%m-%dT%H:%M:%S+02:00", 7),
    "clock": dated("%H:%M"),
    "afternoon": lambda random, rows: [one.strftime("%I:%M %p").lstrip("0") for one in times(random, rows)],
}

# Columns of a data frame of pandas.
TYPED: dict[str, Column] = {
    "int8": lambda random, rows: random.integers(-9, 9, rows).astype(np.int8),
    "uint64": lambda random, rows: 2**63 + random.integers(0, 9, rows).astype(np.uint64),
    "float32": lambda random, rows: random.normal(size=rows).astype(np.float32),
    "Int64": lambda random, rows: pandas.array(random.integers(0, 9, rows), dtype="Int64"),
    "boolean": lambda random, rows: pandas.array(random.random(rows) < 0.5, dtype="boolean"),
    "bool": lambda random, rows: random.random(rows) < 0.5,
    "words": lambda random, rows: random.choice(["a", "b", "None", "-"], rows),
    "arrow": lambda random, rows: pandas.array(random.integers(0, 9, rows), dtype="int16[pyarrow]"),
    "ordered": lambda random, rows: pandas.Categorical(
        random.choice(["lo", "hi"], rows), categories=["lo", "mid", "hi"], ordered=True
    ),
    "number categories": lambda random, rows: pandas.Categorical(
        random.choice([3, 1, 2], rows), categories=[3, 1, 2, 9]
    ),
    "date categories": lambda random, rows: pandas.Categorical(
        pandas.to_datetime(random.choice(["2020-02-01", "2019-01-01"], rows))
    ),
    "cut": lambda random, rows: pandas.cut(random.normal(size=rows), 4),
    "interval": lambda random, rows: pandas.cut(random.normal(size=rows), 3).astype("interval[float64, right]"),
    "period": lambda random, rows: pandas.PeriodIndex(random.choice(["2020-01", "2021-05"], rows), freq="M"),
    "uuid": lambda random, rows: [uuid.UUID(int=int(x)) for x in random.integers(1, 4, rows)],
    "mixed": lambda random, rows: [[1, "a", 2.5, True][x] for x in random.integers(0, 4, rows)],
    "lists": lambda random, rows: [[[1, 2], [3]][x] for x in random.integers(0, 2, rows)],
    "bytes": lambda random, rows: [[b"ab", b"\xff"][x] for x in random.integers(0, 2, rows)],
    "decimal": lambda random, rows: [decimal.Decimal(10**17 + int(x)) / 100 for x in random.integers(0, 9, rows)],
    "date": lambda random, rows: np.array(days(random, rows), dtype=object),
    "time": lambda random, rows: np.array([one.time() for one in times(random, rows)], dtype=object),
    "moment": lambda random, rows: pandas.to_datetime(times(random, rows)),
    "zone": lambda random, rows: (
        pandas.to_datetime(times(random, rows, 3600)).tz_localize("UTC").tz_convert("Asia/Tokyo")
    ),
    "duration": lambda random, rows: pandas.to_timedelta(random.integers(0, 99, rows), unit="h"),
    "text dates": lambda random, rows: WRITTEN["slashes"](random, rows),
    "whole dates": lambda random, rows: [int(x) for x in WRITTEN["digits"](random, rows)],
    "constant": lambda random, rows: [datetime.time(8, 33)] * rows,
}
# Types of pandas that have no missing value.
NEVER_MISSING = ("int8", "uint64", "bool", "whole dates", "constant")
INDEXES: dict[str, Column] = {
    "range": lambda random, rows: pandas.RangeIndex(rows),
    "shuffled": lambda random, rows: pandas.Index(random.permutation(rows), name="id"),
    "times": lambda random, rows: pandas.DatetimeIndex(times(random, rows), name="when"),
    "levels": lambda random, rows: pandas.MultiIndex.from_arrays(
        [random.integers(0, 3, rows), random.choice(["x", "y"], rows)], names=["k", None]
    ),
}


def random_cells(codec: TableCodec, random: Random, rows: int) -> Any:
    """Return rows of any valid cells."""
    import torch

    return torch.from_numpy(np.stack([random.integers(0, field.size, rows) for field in codec.space.fields], axis=1))


@TRIED
@given(
    names=st.lists(st.sampled_from(sorted(WRITTEN)), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    header=st.booleans(),
    missing=st.sampled_from(["", "", "NA", "?"]),
    share=st.sampled_from([0.0, 0.2]),
    last=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_a_csv_file_comes_back_byte_by_byte(
    names: list[str],
    delimiter: str,
    line_end: str,
    mark: bool,
    header: bool,
    missing: str,
    share: float,
    last: bool,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    rows = int(random.integers(25, 60))
    columns = [[missing if random.random() < share else one for one in WRITTEN[name](random, rows)] for name in names]
    if len(names) == 1:  # a blank line is no row, and without a header nothing says that a comma divides no cells
        columns, header = [[one or "?" for one in columns[0]]], header or any("," in one for one in columns[0])
    lines = [
        delimiter.join(f'"{one}"' if delimiter in one else one for one in row) for row in zip(*columns, strict=True)
    ]
    labels = [f"{name} {number}" for number, name in enumerate(names)]
    text = line_end.join([delimiter.join(labels), *lines] if header else lines) + (line_end if last else "")
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder) / "a.csv", Path(folder) / "b.csv"
        path.write_bytes((("\ufeff" if mark else "") + text).encode())
        table = files.read(path)
        files.write_file(again, [table])
        assert again.read_bytes() == path.read_bytes()
        codec = TableCodec.fit([table], Row, Options(rare=1))
        made = codec.decode(random_cells(codec, random, rows), Noise.consecutive(seed, rows))
        files.write_file(again, [made])
        if header:  # else the first row of other values may look like one
            check_formats(table, files.read(again))
        holes = random.random((rows, len(names))) < 0.3
        aligned = codec.align(table)
        merged = codec.merge_known(codec.encode(made), Noise.consecutive(seed, rows), aligned, holes)
        files.write_file(again, [merged])
        after = again.read_bytes().decode("utf-8-sig").split(line_end)[header : rows + header]
        before = text.split(line_end)[header : rows + header]
        for number in np.flatnonzero(~holes.any(1)):
            assert after[number] == before[number]


def check_formats(table: Any, made: Any) -> None:
    """Check that a table made from another has its types, and numbers and dates in its format and range."""
    assert made.column_names == table.column_names
    real, own = files.form_of(table), files.form_of(made)
    for part in ("delimiter", "header", "line_end", "byte_order_mark", "last_line_ends"):
        assert getattr(own.dialect, part) == getattr(real.dialect, part), part
    for name in table.column_names:
        before, after = real.columns[name], own.columns[name]
        if table.column(name).null_count < len(table) and made.column(name).null_count < len(made):
            assert type(after) is type(before), (name, before, after)
            assert family(after) == family(before)


def family(one: ColumnFormat) -> dict[str, Any]:
    """Return what a format says whatever the values are."""
    wanted = ("pattern", "decimal", "thousands", "prefix", "suffix", "true")
    return {name: value for name, value in one.state().items() if name in wanted and name != "thousands"}


@TRIED
@given(
    names=st.lists(st.sampled_from(sorted(TYPED)), min_size=1, max_size=5),
    index=st.sampled_from(sorted(INDEXES)),
    numbered=st.booleans(),
    share=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 10**6),
)
def test_a_data_frame_comes_back_as_it_was(
    names: list[str], index: str, numbered: bool, share: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = int(random.integers(25, 60))
    rows_index = INDEXES[index](random, rows)
    series = []
    for name in [*names, "Int64"]:  # at least one that is modelled
        one = pandas.Series(TYPED[name](random, rows))
        if name not in NEVER_MISSING:
            one[random.random(rows) < share] = None
        series.append(one.set_axis(rows_index))
    frame = pandas.concat(series, axis=1)
    frame.columns = pandas.Index(
        range(2000, 2001 + len(names)) if numbered else [f"{x}" for x in range(len(names) + 1)], name="columns"
    )
    table = files.from_frame(frame)
    codec = TableCodec.fit([table], Row, Options(rare=1))
    noise = Noise.consecutive(seed, rows)
    codec = TableCodec.from_state(codec.state()[0], {})
    made = codec.gather([codec.decode(random_cells(codec, random, rows), noise)])
    assert made.columns.equals(frame.columns)
    for label in frame.columns:
        expected = frame[label].dtype
        without_missing = expected.kind in "iub" and made[label].isna().any()
        assert made[label].dtype == expected or without_missing, (label, made[label].dtype, expected)
    aligned = codec.align(frame)
    holes = random.random((rows, len(names) + 1)) < 0.3
    merged = codec.gather([codec.merge_known(codec.encode(aligned), noise, aligned, holes)])
    assert merged.index.equals(frame.index)
    assert merged.index.names == frame.index.names
    assert merged.columns.equals(frame.columns)
    for number, label in enumerate(frame.columns):
        known = ~holes[:, number]
        before, after = frame[label][known], merged[label][known]
        assert after.isna().equals(before.isna())
        if label not in merged or after.dtype != before.dtype:
            continue
        there = ~before.isna()
        assert after[there].tolist() == before[there].tolist(), label
