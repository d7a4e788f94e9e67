"""The guard, the way into a folder, and messages of one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import files
from .config import Frozen, build
from .errors import BadItem, UserError, one_line, unknown
from .files import as_path, guard, inside
from .records import Metrics, SeedRange, parse_record
from .space import Grid, space_from_json, space_to_json


def test_a_message_is_one_line_that_any_console_shows() -> None:
    assert str(UserError("a\n  b\tc\r\x1b[31m\ud800 é…")) == "a b\\tc\\r\\x1b[31m\\ud800 é…"
    long = str(UserError("x" * 10_000 + "; do this"))
    assert len(long) < 2100
    assert long.endswith("; do this")
    assert one_line(ValueError("\n\n first \n second")) == "first"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(KeyError("the archive holds no 'x'")) == "the archive holds no 'x'"
    assert "unknown family '5'" in str(unknown("family", 5, ["vae"]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error", [ValueError("a\nb"), RecursionError(), MemoryError(), OSError(36, "too long"), KeyError()]
)
def test_the_guard_turns_anything_into_one_line(error: Exception) -> None:
    with (
        pytest.raises(BadItem, match=r"^x.png is damaged \(.+\); remove it$") as raised,
        guard("x.png", "is damaged", "remove it", BadItem),
    ):
        raise error
    assert "\n" not in str(raised.value)
    for passed in (UserError("as it is"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(passed)) as same, guard("x", "y", "z"):
            raise passed
        assert same.value is passed


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError(76), "no entry 76"),
        (KeyError("label"), "no entry 'label'"),
        (KeyError("two words"), "two words"),
        (KeyError(), "KeyError"),
        (OSError(5), "OSError: 5"),
        (ValueError("0x4c"), "ValueError: 0x4c"),
        (StopIteration((1, 2)), "StopIteration: (1, 2)"),
        (AssertionError(None), "AssertionError: None"),
        (ValueError("truncated"), "truncated"),
        (ValueError("'utf-8' is not it"), "'utf-8' is not it"),
        (ValueError("名前がない"), "名前がない"),
    ],
    ids=repr,
)
def test_a_value_alone_is_no_reason(error: Exception, words: str) -> None:
    assert one_line(error) == words


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "a\0", "é" * 150, "\ud800"])
def test_names_that_lead_out_of_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a file"):
        inside(tmp_path, name)


def test_links_out_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert inside(folder, "label é") == folder / "label é"
    (folder / "within").symlink_to(folder / "x")
    assert inside(folder, "within").name == "within"
    (folder / "out").symlink_to(tmp_path / "x")
    with pytest.raises(UserError, match=r"out is a link that leads out of .*; put a copy"):
        inside(folder, "out")


@pytest.mark.parametrize("value", [5, None, ["x"], "a" * 300, "a\0b", "\ud800"])
def test_what_is_no_path(value: object) -> None:
    with pytest.raises(UserError, match=r"^out is "):
        as_path(value, "out")


def test_records_are_strict() -> None:
    assert parse_record({"first": -3, "count": 2}, SeedRange, "x").count == 2
    for data, message in (
        ({"first": "1", "count": 2}, r"x: first is '1': input should be a valid integer; restore"),
        ({"first": 1, "count": 10**20}, "x: count is 10{20}"),
        ({"first": 1, "count": True}, "x: count is True"),
        ({"first": 1}, "x: count is missing"),
        ({"first": 1, "count": 1, "more": 1}, "x: more is unknown"),
        ([1], r"x holds \[1\]; expected values by name"),
    ):
        with pytest.raises(UserError, match=message):
            parse_record(data, SeedRange, "x")
    assert parse_record({"training": {"steps": 1, "threads": 2}}, Metrics, "x").training.steps == 1
    with pytest.raises(UserError, match=r"x: training.curves.loss.0 is"):
        parse_record({"training": {"curves": {"loss": [[1.0]]}}}, Metrics, "x")


def test_numbers_beyond_64_bits_are_no_settings() -> None:
    class Controls(Frozen):
        min_length: int = 0

    assert build(Controls, {"min_length": 2**62}, "controls").min_length == 2**62
    with pytest.raises(UserError, match=r"^controls: min_length is 10{20}, which is beyond 64 bits$"):
        build(Controls, {"min_length": 10**20}, "controls")


@pytest.mark.parametrize(
    "change", [{"kind": "torus"}, {"channels": 0}, {"channels": "3"}, {"size": [2**31, 9]}, {"size": 3}, {"more": 1}]
)
def test_spaces_are_strict(change: dict[str, object]) -> None:
    data = space_to_json(Grid(3, (4, 5), step=0.5))
    assert space_from_json(data) == Grid(3, (4, 5), step=0.5)
    with pytest.raises(UserError):
        space_from_json({**data, **change})


def test_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = files.memory_left()
    monkeypatch.setattr(files, "_CONTAINER", tmp_path)
    assert files.memory_left() > 0.5 * machine
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 500\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert files.memory_left() > 0.5 * machine
    (tmp_path / "memory.max").write_text("1000\n")
    assert files.memory_left() == 600
    (tmp_path / "memory.max").write_text("100\n")
    assert files.memory_left() == 0
