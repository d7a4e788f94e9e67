"""`samples.json` is enough to make the same pictures again, and nothing else passes for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import morphogen
from morphogen import UserError
from morphogen.cli import run
from morphogen.samples import replay

Fitted = Callable[[str], Path]


@pytest.fixture
def drawn(fitted: Fitted, tmp_path: Path) -> Path:
    """Six samples with another solver than usual."""
    ways = ["--condition", "label=3,5", "--seed", "11", "--solver", "ddim", "--solver.eta", "0.5", "--steps", "3"]
    assert run(["sample", str(fitted("diffusion")), "-n", "6", *ways, "--out", str(tmp_path / "drawn")]) == 0
    return tmp_path / "drawn"


def change(folder: Path, **fields: Any) -> None:
    record = json.loads((folder / "samples.json").read_text())
    (folder / "samples.json").write_text(json.dumps({**record, **fields}))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert run(list(map(str, arguments))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_the_record_tells_all(drawn: Path, fitted: Fitted) -> None:
    record = json.loads((drawn / "samples.json").read_text())
    assert record["seeds"] == [11, 12, 13, 14, 15, 16]
    assert record["condition"] == {"label": ["3", "5"] * 3}
    assert record["controls"]["solver"] == {"name": "ddim", "eta": 0.5}
    assert record["controls"]["steps"] == 3
    assert record["model"] == morphogen.load(fitted("diffusion")).hash
    assert {"morphogen", "torch", "python"} <= set(record["versions"])
    assert sorted(path.name for path in drawn.iterdir()) == sorted([*record["files"], "sheet.png", "samples.json"])


def test_they_are_made_again(drawn: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    again = replay(drawn / "samples.json", morphogen.load(fitted("diffusion")))
    for number, picture in enumerate(again):
        assert (np.asarray(Image.open(drawn / f"{number:05d}.png")) == np.asarray(picture)).all()
    for record in (drawn, drawn / "samples.json"):
        assert run(["replay", str(fitted("diffusion")), str(record)]) == 0
        assert capsys.readouterr().out.strip() == "all 6 samples match"


def test_another_model_is_refused(drawn: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    assert "was made by model" in refused(capsys, "replay", fitted("vae"), drawn)
    change(drawn, model="0" * 64)
    assert "was made by model 0000" in refused(capsys, "replay", fitted("diffusion"), drawn)


def test_a_changed_picture_is_seen(drawn: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.array(Image.open(drawn / "00002.png"))
    picture[4, 4] ^= 8
    Image.fromarray(picture).save(drawn / "00002.png")
    assert run(["replay", str(fitted("diffusion")), str(drawn)]) == 1
    assert "1 of 6 samples differ" in capsys.readouterr().err


def test_a_changed_record_is_seen(drawn: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    model, whole = fitted("diffusion"), (drawn / "samples.json").read_text()
    pipe = morphogen.load(model)
    for field in ("format", "model", "seeds", "condition", "batch", "controls"):
        record = json.loads(whole)
        del record[field]
        (drawn / "samples.json").write_text(json.dumps(record))
        with pytest.raises(UserError, match=f"not a record of samples: KeyError\\('{field}'\\)"):
            replay(drawn / "samples.json", pipe)
    (drawn / "samples.json").write_text(whole)
    change(drawn, seeds=[11, 12, 13, 14, 15, 99])
    assert "seeds that do not follow each other" in refused(capsys, "replay", model, drawn)
    change(drawn, seeds=[11, 12])
    assert "label" in refused(capsys, "replay", model, drawn)
    change(drawn, seeds=list(range(12, 18)))
    assert run(["replay", str(model), str(drawn)]) == 1
    capsys.readouterr()
    change(drawn, format=99)
    assert "format 99" in refused(capsys, "replay", model, drawn)
    (drawn / "samples.json").write_text(whole[:100])
    assert "not readable JSON" in refused(capsys, "replay", model, drawn)
    shutil.rmtree(drawn)
    assert "missing" in refused(capsys, "replay", model, drawn / "samples.json")


def test_samples_replace_nothing(drawn: Path, fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in drawn.iterdir()}
    assert "not empty" in refused(capsys, "sample", fitted("diffusion"), "--out", drawn)
    assert {path.name: path.read_bytes() for path in drawn.iterdir()} == before


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
    asked = ["--condition", "side", "--condition", "shade"]
    assert run(["fit", *asked, source, *flags("vae"), "--out", str(out)]) == 0
    assert morphogen.load(out).conditions["side"].names == ["both", "left", "right"]
    chosen = ["--condition", "shade=dark", "--condition", "side=all"]
    assert run(["sample", *chosen, str(out), "-n", "6", "--out", str(tmp_path / "drawn")]) == 0
    record = json.loads((tmp_path / "drawn" / "samples.json").read_text())
    assert record["condition"] == {"shade": ["dark"] * 6, "side": ["both", "left", "right"] * 2}

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
    out = tmp_path / "drawn"
    assert run(["sample", *before, str(fitted("diffusion")), "-n", "2", "--steps", "2", "--out", str(out)]) == 0
    assert json.loads((out / "samples.json").read_text())["seeds"] == [-5, -4]
