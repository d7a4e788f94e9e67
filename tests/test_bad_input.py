"""What a user gets wrong on the command line: one line that says what to do, exit code 2, nothing left behind.

What is wrong with folders of models and fits: tests/test_broken_folders.py.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import accepted, refused
from PIL import Image

import morphogen
from morphogen import UserError
from morphogen.data.sources import open_source

Flags = Callable[[str], list[str]]
Fitted = Callable[[str], Path]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty good pictures of one size in two classes."""
    digits = open_source("digits")
    for index in range(40):
        folder = tmp_path / "photos" / ("even" if index % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        digits.read(index).resize((16, 16)).convert("RGB").save(folder / f"{index:02d}.jpg")
    return tmp_path / "photos"


def test_a_folder_of_nothing(tmp_path: Path, fit: Any, capsys: Captured) -> None:
    (tmp_path / "empty").mkdir()
    refused(capsys, fit(tmp_path / "empty"), "empty is empty", ".jpg")
    (tmp_path / "texts").mkdir()
    for number in range(3):
        (tmp_path / "texts" / f"{number}.doc").write_text("no picture")
    refused(capsys, fit(tmp_path / "texts"), "texts holds 3 .doc", ".jpg")
    refused(capsys, fit(tmp_path / "text"), "no file or folder", "did you mean", "texts")
    refused(capsys, fit(tmp_path / "elsewhere" / "x.npz"), "no file or folder")
    refused(capsys, fit(tmp_path / "texts" / "1.doc"), "1.doc", "expected")
    assert not (tmp_path / "out").exists()


def test_a_truncated_picture_among_good_ones(tmp_path: Path, photos: Path, fit: Any, capsys: Captured) -> None:
    broken = photos / "odd" / "07.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    accepted(capsys, fit(photos), "skipped 1 of ", str(broken), "truncated")
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert len(split["skipped"]) == 1
    assert str(broken) in split["skipped"][0]


def test_a_truncated_picture_that_is_held_out(tmp_path: Path, photos: Path, fit: Any, capsys: Captured) -> None:
    accepted(capsys, fit(photos))
    held_out = json.loads((tmp_path / "out" / "split.json").read_text())["held_out"]
    broken = sorted(photos.rglob("*.jpg"))[held_out[0]]
    broken.write_bytes(broken.read_bytes()[:300])
    shutil.rmtree(tmp_path / "out")
    accepted(capsys, fit(photos), "skipped 1 of 40", str(broken))
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert split["held_out"] == held_out[1:]
    assert str(broken) in split["skipped"][0]


def test_names_that_are_no_text(tmp_path: Path, photos: Path, fit: Any, capsys: Captured) -> None:
    """Latin-1 bytes in the names of a file and of a class, as old archives hold them."""
    odd = os.fsdecode(b"caf\xe9")
    (photos / "odd").rename(photos / odd)
    shutil.copy(photos / "even" / "02.jpg", photos / "even" / f"{odd}.jpg")
    accepted(capsys, fit(photos, "--condition", "label"), "2 classes")
    assert "condition `label`" in (tmp_path / "out" / "README.md").read_text()


def test_a_list_of_paths(tmp_path: Path, photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    train = {"steps": 2, "batch": 8, "precision": "fp32", "previews": 0}
    few: dict[str, Any] = {"family": "vae", "train": train, "options": {"width": 16}, "say": None}
    morphogen.fit([*map(str, paths[:20]), *paths[20:]], out=tmp_path / "out", **few)
    assert json.loads((tmp_path / "out" / "split.json").read_text())["train"] > 30
    with pytest.raises(UserError, match=r"item 0 has the type object .*; expected a PIL image"):
        morphogen.fit([object()] * 20, out=tmp_path / "objects", **few)
    with pytest.raises(UserError, match="does not exist"):
        morphogen.fit(["nowhere.png"] * 20, out=tmp_path / "nowhere", **few)


def test_too_many_truncated_pictures(tmp_path: Path, photos: Path, fit: Any, capsys: Captured) -> None:
    for path in sorted(photos.rglob("*.jpg"))[::4]:
        path.write_bytes(path.read_bytes()[:300])
    refused(capsys, fit(photos), "cannot be read, more than 5%", ".jpg is damaged or truncated")
    assert not (tmp_path / "out").exists()


def test_all_pictures_truncated(tmp_path: Path, photos: Path, fit: Any, capsys: Captured) -> None:
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"")
    refused(capsys, fit(photos), "none of", "can be read", ".jpg")
    assert not (tmp_path / "out").exists()


def test_odd_pictures_are_made_to_fit(tmp_path: Path, photos: Path, fit: Any, capsys: Captured) -> None:
    """Wildly different sizes, one pixel, CMYK, palette with transparency, 16 bit: each is read, and it is said."""
    Image.new("RGB", (900, 30), "red").save(photos / "odd" / "wide.png")
    Image.new("L", (1, 1)).save(photos / "odd" / "pixel.png")
    Image.new("CMYK", (16, 16), (10, 200, 0, 0)).save(photos / "odd" / "cmyk.jpg")
    Image.new("P", (16, 16)).save(photos / "odd" / "palette.gif", transparency=0)
    Image.fromarray(np.full((16, 16), 40_000, np.uint16)).save(photos / "odd" / "deep.png")
    accepted(capsys, fit(photos), "pictures from 1x1 to 900x30", "made 16x16", "1 of them much enlarged", "colour")


def test_pictures_of_one_pixel(tmp_path: Path, fit: Any, capsys: Captured) -> None:
    (tmp_path / "dots").mkdir()
    for number in range(12):
        Image.new("L", (1, 1), number).save(tmp_path / "dots" / f"{number}.png")
    refused(capsys, fit(tmp_path / "dots"), "every picture is 1x1 pixels", "expected 4x4 or more", "give a size")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.png", "b.png", "c.png", "d.png"])
def test_a_single_picture(tmp_path: Path, photos: Path, fit: Any, capsys: Captured, name: str) -> None:
    """Whatever its name, which decides the split of many, it is there to train on."""
    (tmp_path / "one").mkdir()
    Image.open(photos / "even" / "02.jpg").save(tmp_path / "one" / name)
    accepted(capsys, fit(tmp_path / "one", "--train.steps", "2"), "only 1 to train on: expect copies", "0 held out")


def test_classes(tmp_path: Path, photos: Path, fit: Any, capsys: Captured) -> None:
    refused(capsys, fit(photos, "--condition", "lable"), "unknown column 'lable'; did you mean 'label'?")
    lonely = photos / "lonely"
    lonely.mkdir()
    shutil.copy(photos / "odd" / "01.jpg", lonely / "b.jpg")
    accepted(capsys, fit(photos, "--condition", "label"), "3 classes; fewer than 10 examples of lonely")
    shutil.rmtree(tmp_path / "out")
    for name in ("even", "lonely"):
        shutil.rmtree(photos / name)
    refused(capsys, fit(photos, "--condition", "label"), "at least two classes, found ['odd']", "drop --condition")
    for path in (photos / "odd").iterdir():
        path.rename(photos / path.name)
    (photos / "odd").rmdir()
    refused(capsys, fit(photos, "--condition", "label"), "no column of classes 'label'", "sub-folders")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--family", "vea"], ["unknown family 'vea'", "did you mean 'vae'?"]),
        (["--modality", "imag"], ["unknown modality 'imag'", "'image'"]),
        (["--familly", "vae"], ["unknown flag '--familly'", "'--family'"]),
        (["--train.step", "3"], ["unknown flag '--train.step'", "'--train.steps'"]),
        (["--options.widht", "3"], ["unknown field of options 'widht'", "'width'"]),
        (["--train.steps", "0"], ["--train.steps is 0", "greater than or equal to 1"]),
        (["--train.steps", "many"], ["--train.steps", "many"]),
        (["--train.precision", "fp8"], ["--train.precision", "fp8", "bf16"]),
        (["--options.schedule", "crooked"], ["--options.schedule", "crooked", "linear"]),
        (["--options.schedule", "cosine", "--options.prediction", "noise"], ["needs a schedule that", "choose ddpm"]),
        (["--options.token-dropout", "0.1"], ["token_dropout"]),
        (["--minutes", "1"], ["--minutes or --train.steps, not both"]),
        (["--minutes", "-1"], ["--minutes is -1", "a number above 0"]),
        (["--codec.size", "3"], ["--codec.size is 3", "4"]),
        (["--train.seed", str(2**64)], ["--train.seed", "less than"]),
        (["--codec.background", "whit"], ["whit"]),
        (["--train.seed", "1", "more"], ["'more' was not expected"]),
        (["--train.batch", "100000000"], ["--train.batch is 100,000,000", "examples to train on", "at most 4,096"]),
    ],
    ids=" ".join,
)
def test_flags(tmp_path: Path, fit: Any, capsys: Captured, arguments: list[str], words: list[str]) -> None:
    refused(capsys, fit("digits", *arguments), *words)
    assert not (tmp_path / "out").exists()


def test_an_output_inside_the_source(photos: Path, flags: Flags, capsys: Captured) -> None:
    """It would add files to what is read."""
    out = photos / "models" / "first"
    refused(capsys, ["fit", str(photos), "--out", str(out), *flags("vae")], f"--out {out} is inside the source")
    assert not out.parent.exists()
    with pytest.raises(UserError, match="is inside the source"):
        morphogen.fit(photos, out=out, say=None)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('minutes = "2"', ["minutes is '2'; expected a number"]),
        ("condition = [5]", ["condition is [5]; expected a name or a list of names"]),
        ("autoencoder = 5", ["autoencoder is 5; expected a path"]),
        ("train = []", ["train is []; expected a table"]),
        ("[train]\nsteps = 'many'", ["train.steps is 'many'", "integer"]),
        ("[train]\nlr = nan", ["train.lr is nan"]),
        ("x = " + "[" * 5000, ["recipe.toml is not valid TOML", "correct it"]),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_recipes(tmp_path: Path, fit: Any, capsys: Captured, setting: str, words: list[str]) -> None:
    (tmp_path / "recipe.toml").write_text(setting)
    refused(capsys, fit("digits", "--recipe", str(tmp_path / "recipe.toml")), *words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": [1]}, r"fit.options is \[1\]: input should be a valid dictionary"),
        ({"train": [1]}, r"train is \[1\]; expected values by name"),
        ({"family": 5}, "fit.family is 5: input should be a valid string"),
        ({"modality": 5}, "unknown modality '5'"),
        ({"condition": [5]}, "fit.conditions.0 is 5"),
        ({"autoencoder": 5}, "the model folder is 5; expected the path of a folder"),
        ({"minutes": "2", "train": {}}, "minutes is '2'; expected a number"),
        ({"out": "a" * 300}, "which is no path .File name too long.; choose another one"),
        ({"out": "a\0b"}, "which is no path"),
        ({"source": {"a": 1}}, "a source cannot be a dict"),
        ({"source": "a" * 300}, "File name too long"),
    ],
    ids=str,
)
def test_wrong_arguments_from_python(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    few: dict[str, Any] = {"source": "digits", "out": tmp_path / "out", "train": {"steps": 1}, "say": None}
    with pytest.raises(UserError, match=message) as error:
        morphogen.fit(**{**few, **arguments})
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_wrong_arguments_of_a_pipeline(fitted: Fitted) -> None:
    folder = fitted("diffusion")
    pipe = morphogen.load(folder)
    for call, message in (
        (lambda: morphogen.load(folder, device="nope"), "there is no device 'nope'"),
        (lambda: morphogen.load(5), "the model folder is 5"),  # type: ignore[arg-type]
        (lambda: morphogen.load("a" * 300), "which is no path"),
        (lambda: next(pipe.stream([1], count=1)), r"query is \[1\]; expected values by name"),  # type: ignore[arg-type]
        (lambda: pipe.sample(1, batch=2.5), "the batch is 2.5; expected a whole number"),  # type: ignore[arg-type]
        (lambda: pipe.sample(10**13), "a request of 10,000,000,000,000 samples needs 74,505.8 GiB"),
        (lambda: pipe.sample(1, condition={"label": {}}), "unknown class"),
        (lambda: pipe.impute([5], "left"), "item 0: an array of shape .. is no picture"),
        (lambda: pipe.impute(pipe.sample(1), 5), "the mask is 5; expected what is missing of each item"),
        (lambda: pipe.impute(pipe.sample(1), [5]), "mask 0 is 5; expected a picture, or an array"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_what_is_missing(capsys: Captured, fitted: Fitted) -> None:
    refused(capsys, ["fit", "digits"], "missing: --out")
    refused(capsys, ["fit", "--out", "x"], "the source is missing", "morphogen fit SOURCE")
    refused(capsys, ["sample"], "no model folder was given")
    refused(capsys, ["sample", "--stream", "nowhere"], "there is no model folder 'nowhere'")
    refused(capsys, ["sample", str(fitted("vae"))], "missing: --out")
    refused(capsys, ["smaple"], "unknown verb 'smaple'; did you mean 'sample'?")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--guidence", "3"], ["unknown flag '--guidence'", "'--guidance'"]),
        (["--prompt", "x"], ["unknown flag '--prompt'"]),
        (["--max-length", "2"], ["unknown flag '--max-length'"]),
        (["--solver", "hein"], ["unknown solver 'hein'", "'heun'"]),
        (["--solver", "heun", "--solver.churn", "much"], ["--solver.churn", "much"]),
        (["--solver", "ddim", "--solver.eta", "-1"], ["--solver", "eta", "-1"]),
        (["--steps", "0"], ["--steps is 0"]),
        (["-n", "0"], ["at least 1"]),
        (["--seed", str(2**63 - 1)], ["the seed is 9223372036854775807", "64 bits"]),
        (["--condition", "label=12"], ["unknown class '12'", "did you mean"]),
        (["--condition", "lable=all"], ["unknown condition 'lable'", "'label'"]),
        (["--condition", "label"], ["NAME=VALUE"]),
    ],
    ids=" ".join,
)
def test_flags_of_sample(
    tmp_path: Path, fitted: Fitted, capsys: Captured, arguments: list[str], words: list[str]
) -> None:
    refused(capsys, ["sample", str(fitted("diffusion")), "--out", str(tmp_path / "drawn"), *arguments], *words)
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize("colour", [None, (200, 30, 40)], ids=["few", "plain"])
def test_a_gan_of_odd_pictures(
    tmp_path: Path, capsys: Captured, flags: Flags, colour: tuple[int, int, int] | None
) -> None:
    """A fit to twenty pictures, random or all of one colour, works and warns that they are few."""
    random = np.random.default_rng(0)
    (tmp_path / "odd").mkdir()
    for number in range(20):
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        if colour:
            pixels[:] = colour
        Image.fromarray(pixels).save(tmp_path / "odd" / f"{number}.png")
    out = tmp_path / "out"
    accepted(capsys, ["fit", str(tmp_path / "odd"), *flags("gan"), "--out", str(out)], "expect copies")
    assert morphogen.load(out).sample(2)[0].size == (16, 16)
