"""Fields of the wrong type in the JSON files of a model folder: the file and the field are named, in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import morphogen
from morphogen import UserError
from morphogen.training.spec import FitSpec, Prepared

Fitted = Callable[[str], Path]


def changed(folder: Path, name: str, field: str, value: Any) -> None:
    """Write a value into a field, a path of names with points, of a JSON file."""
    record = json.loads((folder / name).read_text())
    *above, last = field.split(".")
    part = record
    for one in above:
        part = part[one]
    part[last] = value
    (folder / name).write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("split.json", "held_out", "all"),
        ("split.json", "held_out", [1, "2"]),
        ("split.json", "held_out", [10**20]),
        ("split.json", "train", "many"),
        ("split.json", "train", -1),
        ("split.json", "spec", 5),
        ("split.json", "skipped", {"a": 1}),
        ("split.json", "opening", []),
        ("metrics.json", "training", 5),
        ("metrics.json", "training.steps", "six"),
        ("metrics.json", "training.curves", [1, 2]),
        ("metrics.json", "evaluation", "good"),
    ],
)
def test_records_of_a_model(tmp_path: Path, fitted: Fitted, name: str, field: str, value: Any) -> None:
    shutil.copytree(fitted("vae"), tmp_path / "model")
    changed(tmp_path / "model", name, field, value)
    with pytest.raises(UserError, match=rf"{name}: {field}.* is ") as error:
        morphogen.evaluate(tmp_path / "model", out=tmp_path / "report", say=None)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("family", 5), ("conditions", "label"), ("source", ["digits"]), ("train.steps", "six"), ("train.lr", "1e-3")],
)
def test_the_settings_of_an_unfinished_fit(tmp_path: Path, field: str, value: Any) -> None:
    (tmp_path / "training").mkdir()
    FitSpec(source="digits", modality="image", family="vae").write(tmp_path)
    changed(tmp_path / "training", "spec.json", field, value)
    with pytest.raises(UserError, match=rf"spec\.json cannot be read .*{field}.* is ") as error:
        FitSpec.read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("field", "value"), [("examples", "many"), ("examples", -1), ("description", 5)])
def test_what_a_fit_learned_of_its_data(tmp_path: Path, field: str, value: Any) -> None:
    (tmp_path / "training").mkdir()
    Prepared(description="9 items", examples=9, validation_start=9).write(tmp_path)
    assert Prepared.read(tmp_path).examples == 9
    changed(tmp_path / "training", "prepared.json", field, value)
    with pytest.raises(UserError, match=rf"prepared\.json.*{field} is ") as error:
        Prepared.read(tmp_path)
    assert "\n" not in str(error.value)
