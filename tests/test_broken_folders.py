"""Folders that are in use, full, read-only or damaged: one line that says what to do, and nothing lost."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import TIMEOUT, accepted, last_line, refused, run_on_full_disk, wait_until
from items import shades
from safetensors.torch import load_file, save_file
from tiny import TRAIN

import morphogen
from morphogen.core.condition import LabelCodec
from morphogen.core.files import file_hash
from morphogen.core.modality import modality
from morphogen.data.memory import ListSource
from morphogen.data.values import ValueReader
from morphogen.training.checkpoint import latest_checkpoint

Flags = Callable[[str], list[str]]
Fitted = Callable[[str], Path]
Captured = pytest.CaptureFixture[str]


def test_folders_that_hold_something_else(tmp_path: Path, fit: Any, capsys: Captured, fitted: Fitted) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("all my work")
    refused(capsys, fit("digits"), "already exists and is not empty", "choose another folder")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    refused(capsys, ["sample", str(fitted("vae")), "--out", str(tmp_path / "out" / "thesis.tex")], "already exists")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()  # a fit that fails does not delete the folder that it was given
    refused(capsys, fit(tmp_path / "nowhere"), "no file or folder")
    refused(capsys, fit("digits", "--condition", "size"), "unknown column 'size'")
    assert (tmp_path / "out").is_dir()
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").write_text("a file")
    refused(capsys, fit("digits"), "already exists")
    assert (tmp_path / "out").read_text() == "a file"


def test_a_folder_in_use(tmp_path: Path, fit: Any, start: Any, capsys: Captured) -> None:
    out = tmp_path / "out"
    running = start(*fit("digits", "--train.steps", "1000000"))
    wait_until((out / "training" / "step-0").exists, running)
    refused(capsys, fit("digits"), f"--out {out} is in use by another fit", "choose another folder")
    refused(capsys, ["fit", "--resume", "--out", str(out)], f"--out {out} is in use by another fit")
    refused(capsys, ["sample", str(out), "--out", str(tmp_path / "drawn")], "has not finished", "--resume")
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=TIMEOUT)
    assert running.returncode == 128 + signal.SIGTERM, errors
    assert latest_checkpoint(out / "training") is not None
    refused(capsys, fit("digits"), "continue it with --resume or choose another folder")


@pytest.mark.parametrize(("limit", "what"), [(50_000, "train.store"), (300_000, "checkpoint")])
def test_a_full_disk_at_the_start(tmp_path: Path, fit: Any, limit: int, what: str) -> None:
    """Files may have `limit` bytes: enough for the encoded digits in the second case, for a checkpoint in neither."""
    message = run_on_full_disk(limit, *fit("digits"))
    assert "could not write" in message
    assert what in message
    assert "free some space" in message
    assert not (tmp_path / "out").exists()


def test_a_full_disk_at_the_end(tmp_path: Path, fit: Any, start: Any, capsys: Captured) -> None:
    """The disk fills up after the first checkpoint; once there is space again, nothing is lost."""
    out = tmp_path / "out"
    late = ["--train.steps", "60", "--train.save-seconds", "1e9"]
    process = start(*fit("digits", *late))
    wait_until((out / "training" / "step-0").exists, process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2, errors
    assert "model.safetensors" in last_line(errors)
    assert not (out / "model.safetensors").exists()
    assert not (out / "config.json").exists()
    assert not list(out.rglob(".*")), "something half-written was left"

    # That the weights are those of an uninterrupted fit is tested in test_resume.
    accepted(capsys, ["fit", "--resume", "--out", str(out)], "resuming at step 0")
    assert morphogen.load(out).sample(1)


@pytest.mark.parametrize(("limit", "file"), [(40, "00000.png"), (700, "sheet.png")])
def test_a_full_disk_while_sampling(tmp_path: Path, fitted: Fitted, limit: int, file: str) -> None:
    """Of a folder of samples there is all or nothing, so that the next try is not refused."""
    assert file in run_on_full_disk(limit, "sample", fitted("vae"), "--out", tmp_path / "drawn")
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
        (edit(format=1), ["in format 1 by morphogen", "this one reads format 3: fit again"]),
        (edit(format="one"), ["config.json has no format version"]),
        (edit(family="gna"), ["unknown family 'gna'"]),
        (edit(options={"widht": 3}), ["unknown field of options 'widht'", "did you mean 'width'"]),
        (edit(space={"kind": "torus"}), ["'torus'"]),
        (edit(space=None), ["config.json: space is None"]),
        (edit(options=None), ["config.json: options is None"]),
        (edit(precision="fp8"), ["config.json: precision is 'fp8'"]),
        (edit(more=1), ["config.json: more is unknown"]),
        (cut("model.safetensors"), ["model.safetensors was changed or damaged", "restore the folder or fit again"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["model.safetensors is missing"]),
        (lambda folder: (folder / "config.json").write_bytes(b"\x93garbage"), ["config.json is not readable JSON"]),
        (lambda folder: (folder / "config.json").write_text("[" * 10**5), ["config.json is not readable JSON"]),
        (lambda folder: (folder / "config.json").write_text("5" * 5000), ["config.json is not readable JSON"]),
        (lambda folder: (folder / "metrics.json").write_text('{"a":' * 10**5), ["metrics.json is not readable JSON"]),
        (
            lambda folder: (folder / "metrics.json").write_bytes(b'{"\xed\xa0\x80": 1}'),
            ["metrics.json is not readable"],
        ),
        (lambda folder: (folder / "config.json").write_text("[]"), ["config.json has no format version"]),
        (lambda folder: (folder / "config.json").unlink(), ["config.json is missing"]),
        (
            lambda folder: (folder / "codec" / "config.json").write_text("{}"),
            ["codec/config.json was changed"],
        ),
        (lambda folder: shutil.rmtree(folder / "conditions"), ["label/config.json is missing"]),
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


def sign(folder: Path) -> None:
    """Write the hashes of the files as they are now into config.json, as a stranger may."""
    hashes = json.loads((folder / "config.json").read_text())["files"]
    edit(files={name: file_hash(folder / name) for name in hashes})(folder)


def change(name: str, value: Any) -> Damage:
    """Return the damage to one tensor of the weights, under hashes that agree."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        tensors[name] = value(tensors[name])
        save_file(tensors, folder / "model.safetensors")
        sign(folder)

    return damage


def leave(folder: Path) -> None:
    """Make a condition of a name that leads out of the folder."""
    config = json.loads((folder / "config.json").read_text())
    shutil.copytree(folder / "conditions" / "label", folder.parent / "outside")
    conditions = {"../../outside": config["conditions"]["label"]}
    files = {name.replace("label", "../../outside"): digest for name, digest in config["files"].items()}
    edit(conditions=conditions, files=files)(folder)


def link(folder: Path) -> None:
    shutil.move(folder / "codec", folder.parent / "codec")
    (folder / "codec").symlink_to(folder.parent / "codec")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change("mean", lambda value: value * torch.nan), ["mean holds a number that is not finite"]),
        (change("mean", lambda value: value + torch.inf), ["mean holds a number that is not finite"]),
        (change("mean", lambda value: value.double()), ["mean is torch.float64; expected torch.float32"]),
        (change("mean", lambda value: torch.zeros(3)), ["size mismatch for mean"]),
        (change("mean", lambda value: value.expand(1).bool()), ["mean is torch.bool"]),
        (edit(options={"width": 16 * 2**20}), ["describe a model that needs more memory"]),
        (leave, ["conditions.../../outside", "it is no plain file name"]),
        (link, ["is a link that leads out of", "put a copy of the file in its place"]),
    ],
)
def test_a_stranger_s_model(tmp_path: Path, fitted: Fitted, damage: Damage, words: list[str]) -> None:
    """Hashes that agree say nothing of what is in the files."""
    folder = tmp_path / "model"
    shutil.copytree(fitted("diffusion"), folder)
    damage(folder)
    with pytest.raises(morphogen.UserError) as error:
        morphogen.load(folder)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_leads_out_of_the_folder(tmp_path: Path) -> None:
    """Neither a fit nor a model writes to it."""
    labels = [str(number % 2) for number in range(30)]
    source = ListSource(shades(), ValueReader(modality("image"), as_paths=False), {"../../outside": labels})
    few: dict[str, Any] = {"family": "vae", "train": {**TRAIN}, "options": {"width": 16}, "say": None}
    with pytest.raises(morphogen.UserError, match=r"'\.\./\.\./outside'.* no plain file name"):
        morphogen.fit(source, out=tmp_path / "a" / "b", condition="../../outside", **few)
    artifact = morphogen.fit(shades(), out=tmp_path / "model", **few).artifact
    artifact.conditions["../../outside"] = LabelCodec(["a", "b"])
    with pytest.raises(morphogen.UserError, match="cannot be the name of a file"):
        artifact.save(tmp_path / "a" / "b")
    assert not (tmp_path / "outside").exists()


def test_a_model_of_another_family(tmp_path: Path, fitted: Fitted, capsys: Captured) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fitted("diffusion"), folder)
    shutil.copy(fitted("vae") / "model.safetensors", folder)
    refused(capsys, ["sample", str(folder), "--out", str(tmp_path / "drawn")], "model.safetensors was changed")


def test_a_damaged_checkpoint(tmp_path: Path, fit: Any, start: Any, capsys: Captured) -> None:
    out = tmp_path / "out"
    process = start(*fit("digits", "--train.steps", "1000000"))
    wait_until((out / "training" / "step-0").exists, process)
    process.kill()
    process.communicate()
    checkpoint = latest_checkpoint(out / "training")
    assert checkpoint is not None
    cut("state.safetensors")(checkpoint)
    refused(capsys, ["fit", "--resume", "--out", str(out)], "checkpoint", "cannot be read")
    assert checkpoint.exists()
