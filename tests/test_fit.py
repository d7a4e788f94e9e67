"""From the embedded digits to samples, for every family: what is left on disk, and one picture for each seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import TRAIN, conditions, kind, tiny

import morphogen
from morphogen import UserError
from morphogen.core import plugins
from morphogen.core.records import FORMAT
from morphogen.data.sources import open_source
from morphogen.data.split import split_by_hash

FAMILIES = list(plugins.known("families"))
Fitted = Callable[[str], Path]
each_family = pytest.mark.parametrize("family", FAMILIES)
each_conditional_family = pytest.mark.parametrize("family", [name for name in FAMILIES if conditions(name)])


def pixels(pictures: list[Any]) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in pictures]).astype(int)


@each_family
def test_the_model_folder_is_complete(fitted: Fitted, family: str) -> None:
    folder = fitted(family)
    names = {path.name for path in folder.iterdir()}
    assert {
        "README.md",
        "config.json",
        "model.safetensors",
        "codec",
        "metrics.json",
        "split.json",
    } <= names
    assert ("conditions" in names) == bool(conditions(family))
    assert "training" not in names, "checkpoints and encoded data are removed"
    assert not [path for path in folder.rglob("*") if path.suffix in (".pt", ".pkl", ".pickle", ".ckpt")]
    assert not list(folder.rglob(".*")), "temporary files were left"
    config = json.loads((folder / "config.json").read_text())
    assert (config["family"], config["modality"], config["format"]) == (family, "image", FORMAT)
    assert config["options"]["width"] == 16
    training = json.loads((folder / "metrics.json").read_text())["training"]
    assert (training["steps"], training["batch"], training["rollbacks"]) == (6, 16, 0)
    assert [step for step, _ in training["threads"]] == [0], "with counted steps the number of threads never changes"
    assert 0 < training["step_seconds"] < training["seconds"]
    assert len(list((folder / "previews").glob("step-*.png"))) == 1


@each_family
def test_the_split_is_recorded(fitted: Fitted, family: str) -> None:
    split = json.loads((fitted(family) / "split.json").read_text())
    digits = open_source("digits")
    expected = np.flatnonzero(split_by_hash([digits.item_name(i) for i in range(len(digits))]))
    assert split["held_out"] == expected.tolist()
    validation = len(split["validation"])
    assert split["train"] + validation + len(split["held_out"]) == len(digits) == 1797
    assert bool(validation) == plugins.model_for(family, kind(family)).early_stopping
    assert not split["official"]


def test_an_official_split_is_kept(tmp_path: Path) -> None:
    digits = open_source("digits")
    pictures = np.stack([np.asarray(digits.read(i)) for i in range(50)])
    np.savez(tmp_path / "some.npz", x_train=pictures[:40], x_test=pictures[40:])
    train, options = {**TRAIN, "steps": 1}, tiny("diffusion")
    pipe = morphogen.fit(
        tmp_path / "some.npz", family="diffusion", out=tmp_path / "out", train=train, options=options, say=None
    )
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert split["official"]
    assert split["held_out"] == list(range(40, 50))
    assert pipe.metrics["training"]["items"] == 40


@each_family
def test_saved_and_loaded_it_is_the_same_model(fitted: Fitted, family: str, tmp_path: Path) -> None:
    pipe = morphogen.load(fitted(family), device="cpu")
    pipe.save(tmp_path / "copy")
    again = morphogen.load(tmp_path / "copy", device="cpu")
    assert again.hash == pipe.hash
    assert [again.conditions[name].classes for name in conditions(family)] == [
        [str(digit) for digit in range(10)] for _ in conditions(family)
    ]
    fives = dict.fromkeys(conditions(family), 5)
    first, second = (pixels(one.sample(4, seed=3, condition=fives)) for one in (pipe, again))
    assert (first == second).all()


def test_an_option_that_a_later_version_adds_changes_no_hash(fitted: Fitted, tmp_path: Path) -> None:
    pipe = morphogen.load(fitted("vae"), device="cpu")
    pipe.save(tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["options"]["beta"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    old = morphogen.load(tmp_path / "old", device="cpu")
    assert old.hash != pipe.hash
    assert old.model.options == pipe.model.options
    old.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["options"] == config["options"]
    assert morphogen.load(tmp_path / "again", device="cpu").hash == old.hash


@each_family
def test_a_seed_gives_one_picture(fitted: Fitted, family: str) -> None:
    """Alone, among sixteen and in batches of five; rounding may move a value by one grey level of 255."""
    pipe = morphogen.load(fitted(family))
    together = pixels(pipe.sample(16, seed=0))
    assert len(np.unique(together.reshape(16, -1), axis=0)) == 16, "seeds do not matter"
    assert abs(pixels(pipe.sample(1, seed=7))[0] - together[7]).max() <= 1
    assert abs(pixels(pipe.sample(16, seed=0, batch=5)) - together).max() <= 1


@each_conditional_family
def test_a_condition_is_a_name_a_number_or_a_list(fitted: Fitted, family: str) -> None:
    pipe = morphogen.load(fitted(family))
    by_name = pixels(pipe.sample(2, condition={"label": "3"}))
    assert (pixels(pipe.sample(2, condition={"label": 3})) == by_name).all()
    assert (pixels(pipe.sample(2, condition={"label": [3, "3"]})) == by_name).all()
    assert pipe.artifact.encode_conditions({"label": [3, "8"]}, 2)["label"].tolist() == [[3], [8]]


def test_an_unconditional_model_takes_no_condition(tmp_path: Path) -> None:
    pictures = np.zeros((20, 8, 8), np.uint8)
    pictures[::2] = 255
    train, options = {**TRAIN, "steps": 1}, tiny("diffusion")
    pipe = morphogen.fit(pictures, family="diffusion", out=tmp_path / "out", train=train, options=options, say=None)
    with pytest.raises(UserError, match="takes no condition 'label'; drop it, or fit with --condition label"):
        pipe.sample(1, condition={"label": 3})


@each_family
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_samples(fitted: Fitted, family: str, precision: str, tmp_path: Path) -> None:
    """A few steps in half precision end near those in single precision."""
    train = {**TRAIN, "precision": precision}
    pipe = morphogen.fit(
        "digits",
        family=family,
        condition=conditions(family),
        out=tmp_path / "out",
        train=train,
        options=tiny(family),
        say=None,
    )
    assert json.loads((tmp_path / "out" / "config.json").read_text())["precision"] == precision
    single = morphogen.load(fitted(family), device="cpu").model.state_dict()
    difference, size = 0.0, 0.0
    for name, value in pipe.model.state_dict().items():
        difference += float((value.cpu() - single[name]).double().square().sum())
        size += float(single[name].double().square().sum())
    assert 0 < difference < 1e-3 * size
    assert len(pipe.sample(4, seed=0)) == 4


def test_a_fit_that_ends_before_its_minutes_says_why(tmp_path: Path) -> None:
    rows = [{"a": row % 3, "b": row % 5} for row in range(60)]
    messages: list[str] = []
    train = {"threads": 1, "previews": 0, "precision": "fp32", "batch": 32}
    pipe = morphogen.fit(
        rows, minutes=2, out=tmp_path / "model", options={"width": 16}, train=train, say=messages.append
    )
    assert pipe.metrics["training"]["steps"] == 200
    assert any("all items were read 123 times" in line and "--train.steps 400" in line for line in messages), messages
