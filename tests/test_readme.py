"""What the README tells a newcomer to type works in an empty folder; only the minutes are cut to a few steps."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morphogen.cli import run
from morphogen.core import plugins
from morphogen.data.sources import open_source

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def photos(folder: Path) -> None:
    """Real pictures in class sub-folders."""
    digits = open_source("digits")
    for index in range(40):
        path = folder / digits.columns["label"][index] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        digits.read(index).save(path)


def stories(file: Path) -> None:
    """One text of many sentences."""
    sentences = [f"One day {who} went {where}." for who in ("Ann", "Bob") for where in ("home", "away", "to the sea")]
    file.write_text("\n\n".join(" ".join(sentences[n % 5 :]) for n in range(60)))


def people(folder: Path) -> None:
    """A table, and the same with holes."""
    random = np.random.default_rng(0)
    lines, holed = ["name,age,city,income,savings"], ["name,age,city,income,savings"]
    for number in range(300):
        age, city = int(random.integers(18, 70)), str(random.choice(["Rome", "Oslo", "Lima"]))
        income = 50 * age + int(random.integers(0, 500))
        lines.append(f"p{number:05d},{age},{city},{income},{int(random.integers(0, income))}")
        holed.append(f"p{number:05d},{age if number % 3 else ''},{city if number % 5 else ''},,")
    (folder / "people.csv").write_text("\n".join(lines) + "\n")
    (folder / "people-with-holes.csv").write_text("\n".join(holed) + "\n")


@pytest.mark.usefixtures("quick")
def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    stories(tmp_path / "stories.txt")
    people(tmp_path)
    verbs = []
    for line in "".join(blocks("sh")).splitlines():
        command, *arguments = shlex.split(line, comments=True)
        if command != "morphogen":
            assert os.access(ROOT / command, os.X_OK), f"{command} is not a program of this repository"
            continue
        small, substitutions = re.subn(
            r"--minutes \S+", "--train.steps 2 --train.batch 16 --options.width 16", shlex.join(arguments)
        )
        assert substitutions == (arguments[0] == "fit"), f"{line}: a fit without --minutes would take ten"
        small += " -n 60" if arguments[0] == "evaluate" else ""
        code = run(shlex.split(small))
        assert code == 0, f"{line}: {capfd.readouterr().err}"
        verbs.append(arguments[0])
    assert set(verbs) == {"fit", "sample", "evaluate", "impute", "inspect", "replay"}
    assert len(list((tmp_path / "samples").glob("0*.png"))) == 20
    rows = (tmp_path / "some-people" / "rows.csv").read_text().splitlines()
    assert len(rows) == 1001
    assert all(30 <= int(line.split(",")[1]) <= 40 and int(line.split(",")[3]) >= 2000 for line in rows[1:])
    assert all(int(line.split(",")[4]) <= int(line.split(",")[3]) for line in rows[1:])
    even_rows = (tmp_path / "as-many-of-each-city" / "rows.csv").read_text().splitlines()
    cities = [line.split(",")[2] for line in even_rows[1:]]
    assert sorted(map(cities.count, set(cities))) == [333, 333, 334]
    imputed = (tmp_path / "whole-people" / "imputation-3" / "rows.csv").read_text().splitlines()
    assert len(imputed) == 301
    assert all(all(line.split(",")) for line in imputed)
    assert {"sheet.png", "samples.json"} <= {path.name for path in (tmp_path / "samples").iterdir()}


@pytest.mark.usefixtures("quick")
def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        options = "{'width': 16, 'prior_width': 16}" if "vae" in block else "{'width': 16}"
        small = block.replace("minutes=2", f"train={{'steps': 2, 'batch': 16}}, options={options}")
        assert "minutes" not in small
        exec(compile(small, "README.md", "exec"), names)
    assert len(names["pictures"]) == len(names["nats"]) == 16
    assert len(names["some"]) == 100
    assert not names["whole"].isna().any().any()
    assert len(names["unusual"]) == 500
    assert names["again"][0].tobytes() == names["pictures"][5].tobytes()


@pytest.mark.parametrize("link", LINKS)
def test_links(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize(
    "family", sorted(path.parent.name for path in (ROOT / "src" / "morphogen" / "families").glob("*/README.md"))
)
def test_family_readme_names_every_setting_and_equation(family: str) -> None:
    folder = ROOT / "src" / "morphogen" / "families" / family
    text = (folder / "README.md").read_text(encoding="utf-8")
    for entry in plugins.models(family).values():
        for name in (*entry.Options.model_fields, *entry.Controls.model_fields):
            assert f"`{name}`" in text, f"{family}/README.md does not mention {name}"
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    cited = re.findall(r"README, equations? (\d+)(?: to (\d+))?", code)
    assert cited
    for first, last in cited:
        for number in range(int(first), int(last or first) + 1):
            assert f"({number})   " in text, f"{family}/README.md has no equation {number}"
