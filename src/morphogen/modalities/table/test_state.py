"""The JSON that a table codec is stored as: what it writes is read, and what was edited wrongly is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.options import Options

State = dict[str, Any]


def table() -> Any:
    random = np.random.default_rng(0)
    rows = 400
    numbers = random.normal(size=rows)
    numbers[:20], numbers[20:40] = np.inf, np.nan
    return arrow.table(
        {
            "number": numbers,
            "few": random.integers(0, 5, rows),
            "word": random.choice(["x", "y", "z"], rows),
            "flag": random.random(rows) < 0.5,
            "day": arrow.array(random.integers(18_000, 20_000, rows).astype("int32")).cast(arrow.date32()),
            "at": arrow.array(random.integers(0, 10**8, rows)).cast(arrow.timestamp("s")),
            "one": ["same"] * rows,
            "gone": arrow.nulls(rows, arrow.float64()),
            "key": np.arange(rows),
            "email": [f"anna{number}@mail.org" for number in range(rows)],
            "a": random.choice(["p", "q"], rows),
            "b": random.choice(["r", "s"], rows),
        }
    )


@pytest.fixture(scope="module")
def state() -> State:
    codec = TableCodec.fit([table()], Row, Options(constraints=("fixed a b",)))
    return codec.state()[0]


def test_what_is_written_is_read(state: State) -> None:
    stored = json.loads(json.dumps(state))
    for one in (state, stored):
        again = TableCodec.from_state(one, {})
        assert json.dumps(again.state()[0]) == json.dumps(state)
        assert again.space == TableCodec.from_state(state, {}).space
    assert {one["kind"] for one in stored["columns"].values()} >= {"bins", "values", "categories"}


def drop(name: str) -> Callable[[State], object]:
    return lambda state: state.pop(name)


def put(value: Any, *path: Any) -> Callable[[State], object]:
    def change(state: State) -> None:
        for step in path[:-1]:
            state = state[step]
        state[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("notes"), "notes is missing"),
        (put(1, "more"), "more is unknown"),
        (put("tree", "columns", "word", "kind"), "columns.word"),
        (put(["x"], "columns", "word", "values"), "1 values have 3 counts"),
        (put("3", "columns", "word", "counts", 0), "columns.word"),
        (put(-1, "columns", "word", "counts", 0), "columns.word"),
        (put({"a": 1}, "columns", "word", "values", 0), "columns.word"),
        (put(1e300, "columns", "number", "edges", 0), "numbers do not rise"),
        (put([], "columns", "number", "edges"), "columns.number"),
        (put(0.5, "columns", "few", "values", 0), "units are whole, and a number is not"),
        (put(-1, "columns", "few", "units", "step"), "columns.few"),
        (put(10**30, "columns", "few", "units", "offset"), "columns.few"),
        (put(["category"], "column_types", "word"), "the type of column 'word' is not a kind, a reason and a form"),
        (put(2.0, "unmodelled", "email", "missing"), "unmodelled.email"),
        (put(["", "x"], "unmodelled", "key", "key", "places"), "unmodelled.key"),
        (put(99, "unmodelled", "key", "key", "behind"), "places are behind"),
        (put(-1, "unmodelled", "key", "key", "behind"), "unmodelled.key"),
        (put(10**9, "unmodelled", "email", "length"), "unmodelled.email"),
        (put([1], "constraints"), "constraints.0"),
        (put("x", "columns"), "columns"),
        (put("word", "columns", '{"hour": "at"}', "of"), "a part of dates is of 'word'"),
        (put("none", "columns", '{"hour": "at"}', "of"), "a part of dates is of 'none'"),
    ],
)
def test_what_was_edited_wrongly_is_named(state: State, damage: Callable[[State], object], message: str) -> None:
    edited = copy.deepcopy(state)
    damage(edited)
    with pytest.raises(UserError) as refusal:
        TableCodec.from_state(edited, {})
    assert str(refusal.value).startswith("the table codec")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_keys_of_older_models_have_nothing_behind(state: State) -> None:
    older = copy.deepcopy(state)
    del older["unmodelled"]["key"]["key"]["behind"]
    rows = Noise.consecutive(3, 20)
    x = torch.zeros(20, len(state["columns"]), dtype=torch.int64)
    made, expected = (TableCodec.from_state(one, {}).decode(x, rows) for one in (older, state))
    assert made["key"].equals(expected["key"])
