"""What a user gets wrong on the command line: one line that says what to do, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ALONE
from PIL import Image

import morphogen
from morphogen import UserError
from morphogen.cli import run
from morphogen.data.sources import open_source
from morphogen.training.checkpoint import latest_checkpoint

Flags = Callable[[str], list[str]]
Fitted = Callable[[str], Path]
Captured = pytest.CaptureFixture[str]
SOON = 300  # seconds


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty good pictures of one size in two classes."""
    digits = open_source("digits")
    for index in range(40):
        folder = tmp_path / "photos" / ("even" if index % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        digits.read(index).resize((16, 16)).convert("RGB").save(folder / f"{index:02d}.jpg")
    return tmp_path / "photos"


@pytest.fixture
def fit(tmp_path: Path, flags: Flags) -> Callable[..., list[str]]:
    """Arguments of a small fit of a source into the folder `out`."""
    return lambda source, *more: ["fit", str(source), "--out", str(tmp_path / "out"), *flags("diffusion"), *more]


def one_line(errors: str) -> str:
    """The message, the last and only one of its kind."""
    lines = errors.strip().splitlines()
    assert lines[-1].startswith("morphogen: "), errors
    assert sum(line.startswith("morphogen:") for line in lines) == 1
    assert "Traceback" not in errors
    return lines[-1]


def refused(capsys: Captured, arguments: list[str], *words: str) -> None:
    capsys.readouterr()
    assert run(arguments) == 2
    message = one_line(capsys.readouterr().err)
    for word in words:
        assert word in message, message


def accepted(capsys: Captured, arguments: list[str], *words: str) -> None:
    capsys.readouterr()
    code, errors = run(arguments), capsys.readouterr().err
    assert code == 0, errors
    for word in words:
        assert word in errors, errors


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
    ],
    ids=" ".join,
)
def test_flags(tmp_path: Path, fit: Any, capsys: Captured, arguments: list[str], words: list[str]) -> None:
    refused(capsys, fit("digits", *arguments), *words)
    assert not (tmp_path / "out").exists()


def test_what_is_missing(capsys: Captured, fitted: Fitted) -> None:
    refused(capsys, ["fit", "digits"], "missing: --out")
    refused(capsys, ["fit", "--out", "x"], "the source is missing", "morphogen fit SOURCE")
    refused(capsys, ["sample"], "no model folder was given")
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


def test_folders_that_hold_something_else(tmp_path: Path, fit: Any, capsys: Captured, fitted: Fitted) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("all my work")
    refused(capsys, fit("digits"), "already exists and is not empty", "choose another folder")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    refused(capsys, ["sample", str(fitted("vae")), "--out", str(tmp_path / "out" / "thesis.tex")], "already exists")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").write_text("a file")
    refused(capsys, fit("digits"), "already exists")
    assert (tmp_path / "out").read_text() == "a file"


def test_a_folder_in_use(tmp_path: Path, fit: Any, start: Any, capsys: Captured) -> None:
    out = tmp_path / "out"
    running = start(*fit("digits", "--train.steps", "1000000"))
    wait_for(running, out / "training" / "step-0")
    refused(capsys, fit("digits"), f"--out {out} is in use by another fit", "choose another folder")
    refused(capsys, ["fit", "--resume", "--out", str(out)], f"--out {out} is in use by another fit")
    refused(capsys, ["sample", str(out), "--out", str(tmp_path / "drawn")], "has not finished", "--resume")
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=SOON)
    assert running.returncode == 128 + signal.SIGTERM, said
    assert latest_checkpoint(out / "training") is not None
    refused(capsys, fit("digits"), "continue it with --resume or choose another folder")


def wait_for(process: Any, path: Path) -> None:
    until = time.monotonic() + SOON
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until, f"{path} does not come"
        time.sleep(0.01)


@pytest.mark.parametrize(("limit", "what"), [(50_000, "train.store"), (300_000, "checkpoint")])
def test_a_full_disk_at_the_start(tmp_path: Path, fit: Any, limit: int, what: str) -> None:
    """Files may have `limit` bytes: enough for the encoded digits in the second case, for a checkpoint in neither."""
    done = subprocess.run(
        [sys.executable, "-m", "morphogen", *fit("digits")],
        env=ALONE,
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    message = one_line(done.stderr)
    assert "could not write" in message
    assert what in message
    assert "free some space" in message
    assert not (tmp_path / "out").exists()


def test_a_full_disk_at_the_end(tmp_path: Path, fit: Any, start: Any, capsys: Captured) -> None:
    """The disk fills up after the first checkpoint; once there is space again, nothing is lost."""
    out = tmp_path / "out"
    late = ["--train.steps", "60", "--train.save-seconds", "1e9"]
    process = start(*fit("digits", *late))
    wait_for(process, out / "training" / "step-0")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    _, said = process.communicate(timeout=SOON)
    assert process.returncode == 2, said
    assert "model.safetensors" in one_line(said)
    assert not (out / "model.safetensors").exists()
    assert not (out / "config.json").exists()
    assert not list(out.rglob(".*")), "something half-written was left"

    # That the weights are those of an uninterrupted fit is tested in test_resume.
    accepted(capsys, ["fit", "--resume", "--out", str(out)], "resuming at step 0")
    assert morphogen.load(out).sample(1)


@pytest.mark.parametrize(("limit", "file"), [(40, "00000.png"), (700, "sheet.png")])
def test_a_full_disk_while_sampling(tmp_path: Path, fitted: Fitted, limit: int, file: str) -> None:
    """Of a folder of samples there is all or nothing, so that the next try is not refused."""
    done = subprocess.run(
        [sys.executable, "-m", "morphogen", "sample", fitted("vae"), "--out", tmp_path / "drawn"],
        env=ALONE,
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert file in one_line(done.stderr)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path, flags: Flags, capsys: Captured) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    refused(capsys, ["fit", "digits", "--out", str(out), *flags("vae")], f"--out {out} cannot be written")


Damage = Callable[[Path], object]


def edit(**fields: Any) -> Damage:
    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **fields}))

    return damage


def cut(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edit(format=99, morphogen="9.9"), ["in format 99 by morphogen 9.9", "pip install -U morphogen"]),
        (edit(format=1), ["in format 1 by morphogen", "this one reads format 2: fit again"]),
        (edit(format="one"), ["config.json has no format version"]),
        (edit(family="gna"), ["unknown family 'gna'"]),
        (edit(options={"widht": 3}), ["unknown field of options 'widht'", "did you mean 'width'"]),
        (edit(space={"kind": "torus"}), ["'torus'"]),
        (edit(space=None), ["config.json is damaged"]),
        (edit(options=None), ["config.json is damaged"]),
        (cut("model.safetensors"), ["model.safetensors cannot be read", "restore the folder or fit again"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["model.safetensors is missing"]),
        (lambda folder: (folder / "config.json").write_bytes(b"\x93garbage"), ["config.json is not readable JSON"]),
        (lambda folder: (folder / "config.json").write_text("[]"), ["config.json has no format version"]),
        (lambda folder: (folder / "config.json").unlink(), ["config.json is missing"]),
        (lambda folder: (folder / "codec" / "config.json").write_text("{}"), ["the codec in", "cannot be read"]),
        (lambda folder: shutil.rmtree(folder / "conditions"), ["config.json is missing"]),
        (shutil.rmtree, ["there is no model folder"]),
    ],
)
def test_a_damaged_model(tmp_path: Path, fitted: Fitted, capsys: Captured, damage: Damage, words: list[str]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fitted("diffusion"), folder)
    damage(folder)
    refused(capsys, ["sample", str(folder), "--out", str(tmp_path / "drawn")], *words)
    assert not (tmp_path / "drawn").exists()
    with pytest.raises(morphogen.UserError):
        morphogen.load(folder)


def test_a_model_of_another_family(tmp_path: Path, fitted: Fitted, capsys: Captured) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fitted("diffusion"), folder)
    shutil.copy(fitted("vae") / "model.safetensors", folder)
    refused(capsys, ["sample", str(folder), "--out", str(tmp_path / "drawn")], "model.safetensors cannot be read")


def test_a_damaged_checkpoint(tmp_path: Path, fit: Any, start: Any, capsys: Captured) -> None:
    out = tmp_path / "out"
    process = start(*fit("digits", "--train.steps", "1000000"))
    wait_for(process, out / "training" / "step-0")
    process.kill()
    process.communicate()
    checkpoint = latest_checkpoint(out / "training")
    assert checkpoint is not None
    cut("state.safetensors")(checkpoint)
    refused(capsys, ["fit", "--resume", "--out", str(out)], "checkpoint", "cannot be read")
    assert checkpoint.exists()


@pytest.mark.parametrize(("side", "colour"), [(16, None), (16, (200, 30, 40))], ids=["few", "plain"])
def test_a_gan_of_odd_pictures(
    tmp_path: Path, capsys: Captured, flags: Flags, side: int, colour: tuple[int, int, int] | None
) -> None:
    """Twenty, or of one colour only: it works, and says what to expect of so few."""
    random = np.random.default_rng(0)
    (tmp_path / "odd").mkdir()
    for number in range(20):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        if colour:
            pixels[:] = colour
        Image.fromarray(pixels).save(tmp_path / "odd" / f"{number}.png")
    out = tmp_path / "out"
    accepted(capsys, ["fit", str(tmp_path / "odd"), *flags("gan"), "--out", str(out)], "expect copies")
    assert morphogen.load(out).sample(2)[0].size == (side, side)
