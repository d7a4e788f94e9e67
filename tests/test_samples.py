"""`samples.json` is enough to make the same samples again, and no other samples pass for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused
from PIL import Image

import morphogen
from morphogen import UserError
from morphogen.cli import run
from morphogen.samples import replay

Fitted = Callable[[str], Path]


@pytest.fixture
def samples(fitted: Fitted, tmp_path: Path) -> Path:
    """Six samples with another solver than the default."""
    flags = ["--condition", "label=3,5", "--seed", "11", "--solver", "ddim", "--solver.eta", "0.5", "--steps", "3"]
    assert run(["sample", str(fitted("diffusion")), "-n", "6", *flags, "--out", str(tmp_path / "samples")]) == 0
    return tmp_path / "samples"


def change(folder: Path, **fields: Any) -> None:
    record = json.loads((folder / "samples.json").read_text())
    (folder / "samples.json").write_text(json.dumps({**record, **fields}))


def test_the_record_is_complete(samples: Path, fitted: Fitted) -> None:
    record = json.loads((samples / "samples.json").read_text())
    assert record["seeds"] == {"first": 11, "count": 6}
    assert record["query"] == {"condition": {"label": ["3", "5"] * 3}}
    assert record["controls"]["solver"] == {"name": "ddim", "eta": 0.5}
    assert record["controls"]["steps"] == 3
    assert record["model"] == morphogen.load(fitted("diffusion")).hash
    assert {"morphogen", "torch", "python"} <= set(record["versions"])
    assert sorted(path.name for path in samples.iterdir()) == sorted([*record["files"], "sheet.png", "samples.json"])


def test_samples_are_made_again(samples: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    items = replay(samples / "samples.json", morphogen.load(fitted("diffusion")))
    for number, picture in enumerate(items):
        assert (np.asarray(Image.open(samples / f"{number:05d}.png")) == np.asarray(picture)).all()
    for record in (samples, samples / "samples.json"):
        assert run(["replay", str(fitted("diffusion")), str(record)]) == 0
        assert capsys.readouterr().out.strip() == "all 6 samples match"


def test_another_model_is_refused(samples: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, ["replay", fitted("vae"), samples], "was made by model")
    change(samples, model="0" * 64)
    refused(capsys, ["replay", fitted("diffusion"), samples], "was made by model 0000")


def test_a_changed_picture_is_detected(samples: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.array(Image.open(samples / "00002.png"))
    picture[4, 4] ^= 8
    Image.fromarray(picture).save(samples / "00002.png")
    for versions in ({"torch": "1.0"}, {}):
        change(samples, versions=versions)
        assert run(["replay", str(fitted("diffusion")), str(samples)]) == 1
        assert "1 of 6 samples differ" in capsys.readouterr().err


def test_a_changed_record_is_refused(samples: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    model, content = fitted("diffusion"), (samples / "samples.json").read_text()
    pipe = morphogen.load(model)
    for field in ("format", "model", "seeds", "query", "condition_files", "batch", "controls"):
        record = json.loads(content)
        del record[field]
        (samples / "samples.json").write_text(json.dumps(record))
        with pytest.raises(UserError, match=f"samples.json: {field} is missing"):
            replay(samples / "samples.json", pipe)
    (samples / "samples.json").write_text(content)
    change(samples, seeds=[11, 12])
    refused(capsys, ["replay", model, samples], "samples.json: seeds is [11, 12]")
    for count in (2, 10**12):
        change(samples, seeds={"first": 11, "count": count})
        refused(capsys, ["replay", model, samples], f"files of 6 samples, and has {count} seeds")
    for name in ("../00000.png", "/etc/passwd", 5):
        change(samples, files=[name] * 6)
        refused(capsys, ["replay", model, samples], "files.0 is")
    (samples / "samples.json").write_text(content)
    change(samples, seeds={"first": 12, "count": 6})
    assert run(["replay", str(model), str(samples)]) == 1
    capsys.readouterr()
    change(samples, format=99)
    refused(capsys, ["replay", model, samples], "format 99")
    (samples / "samples.json").write_text(content[:100])
    refused(capsys, ["replay", model, samples], "not readable JSON")
    shutil.rmtree(samples)
    refused(capsys, ["replay", model, samples / "samples.json"], "missing")


def test_samples_replace_nothing(samples: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in samples.iterdir()}
    refused(capsys, ["sample", fitted("diffusion"), "--out", samples], "not empty")
    assert {path.name: path.read_bytes() for path in samples.iterdir()} == before


def test_two_conditions(flags: Callable[[str], list[str]], tmp_path: Path) -> None:
    """Columns of a table, each with a flag of its own, before the source and after it."""
    (tmp_path / "pictures").mkdir()
    rows = ["file,shade,side"]
    for number in range(40):
        shade, side = ("dark", "light")[number % 2], ("left", "right", "both")[number % 3]
        name = f"pictures/{number}.png"
        Image.new("L", (8, 8), 40 + 160 * (number % 2)).save(tmp_path / name)
        rows.append(f"{name},{shade},{side}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    out, source = tmp_path / "model", str(tmp_path / "table.csv")
    columns = ["--condition", "side", "--condition", "shade"]
    assert run(["fit", *columns, source, *flags("vae"), "--out", str(out)]) == 0
    assert morphogen.load(out).conditions["side"].classes == ["both", "left", "right"]
    values = ["--condition", "shade=dark", "--condition", "side=all"]
    assert run(["sample", *values, str(out), "-n", "6", "--out", str(tmp_path / "samples")]) == 0
    record = json.loads((tmp_path / "samples" / "samples.json").read_text())
    assert record["query"] == {"condition": {"shade": "dark", "side": "all"}}
    assert run(["replay", str(out), str(tmp_path / "samples")]) == 0
    pipe = morphogen.load(out)
    by_name = pipe.sample(6, condition={"shade": "dark", "side": ["both", "left", "right"] * 2})
    for number, picture in enumerate(by_name):
        assert (np.asarray(Image.open(tmp_path / "samples" / f"{number:05d}.png")) == np.asarray(picture)).all()

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'source = "{source}"\ncondition = ["shade"]')
    arguments = ["fit", "--recipe", str(recipe), *flags("vae"), "--out"]
    assert run([*arguments, str(tmp_path / "by-recipe")]) == 0
    assert list(morphogen.load(tmp_path / "by-recipe").conditions) == ["shade"]
    assert run([*arguments, str(tmp_path / "by-flag"), "--condition", "side"]) == 0
    assert list(morphogen.load(tmp_path / "by-flag").conditions) == ["side"], "a flag goes before the recipe"


def test_flags_before_the_folder(fitted: Fitted, tmp_path: Path) -> None:
    """Whatever a flag's value looks like, the model folder is the model folder."""
    before = ["--seed", "-5", "--guidance-interval", "0.1", "5"]
    out = tmp_path / "samples"
    assert run(["sample", *before, str(fitted("diffusion")), "-n", "2", "--steps", "2", "--out", str(out)]) == 0
    assert json.loads((out / "samples.json").read_text())["seeds"] == {"first": -5, "count": 2}


def test_a_stream_is_bounded_and_the_same_in_any_batch(fitted: Fitted) -> None:
    """Parts come one at a time, before the next one is made, and hold what `sample` returns."""
    pipe = morphogen.load(fitted("diffusion"))
    finished: list[int] = []
    query, controls = {"condition": {"label": "all"}}, {"steps": 2}
    parts = pipe.stream(query, count=7, seed=3, batch=3, progress=finished.append, controls=controls)
    assert finished == []
    assert len(next(parts)) == 3
    assert finished == [3]
    assert [len(part) for part in parts] == [3, 1]
    assert finished == [3, 6, 7]
    whole = pipe.sample(7, seed=3, condition={"label": "all"}, steps=2)
    alone = pipe.sample(1, seed=7, condition={"label": "4"}, steps=2)
    assert np.array_equal(np.asarray(whole[4]), np.asarray(alone[0]))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"stesp": 3}, "unknown argument 'stesp'; did you mean 'steps'"),
        ({"conditions": {}}, "unknown argument 'conditions'; did you mean 'condition'"),
        ({"beams": 4}, "unknown argument 'beams'"),
        ({"prompt": "a"}, "unknown argument 'prompt'"),
        ({"steps": 0}, "controls.steps is 0"),
        ({"condition": {"lable": "3"}}, "unknown condition 'lable'; did you mean 'label'"),
        ({"condition": {"label": ["3", "4"]}}, "2 values for 3 samples"),
        ({"condition": {"label": 33}}, "unknown class '33'; did you mean '3'"),
        ({"batch": 0}, "the batch is 0"),
        ({"seed": 2**63 - 1}, "64 bits"),
    ],
)
def test_what_cannot_be_sampled_is_refused_by_name(fitted: Fitted, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        morphogen.load(fitted("diffusion")).sample(3, **keywords)


def test_flags_are_those_of_the_modality_and_the_model(fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["sample", str(fitted("diffusion")), "--help"])
    text = capsys.readouterr().out
    assert "diffusion options" in text
    assert "--guidance" in text
    assert "--prompt" not in text
    assert "--stream" not in text
    for flag in ("--prompt", "--beams", "--stream", "--mask"):
        refused(capsys, ["sample", fitted("diffusion"), flag, "3", "--out", "none"], f"unknown flag '{flag}'")


def test_a_needed_condition_is_asked_for(tmp_path: Path) -> None:
    """A model that makes large pictures of small ones cannot sample without a small one."""
    train = {"steps": 4, "batch": 16, "precision": "fp32", "previews": 0}
    out = tmp_path / "model"
    pipe = morphogen.fit(
        "digits", out=out, family="diffusion", super_resolution=2, train=train, options={"width": 8}, say=None
    )
    with pytest.raises(UserError, match="needs the condition low_res=PICTURE"):
        pipe.sample(2, steps=2)
    small = Image.new("L", (4, 4), 200)
    small.save(tmp_path / "small.png")
    (from_file,) = pipe.sample(1, condition={"low_res": tmp_path / "small.png"}, steps=2)
    (from_memory,) = pipe.sample(1, condition={"low_res": small}, steps=2)
    assert np.array_equal(np.asarray(from_file), np.asarray(from_memory))


def test_old_folders_are_refused(fitted: Fitted, tmp_path: Path) -> None:
    shutil.copytree(fitted("vae"), tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    (tmp_path / "old" / "config.json").write_text(json.dumps({**config, "format": 1}))
    with pytest.raises(UserError, match=r"was written in format 1 .* fit again"):
        morphogen.load(tmp_path / "old")
