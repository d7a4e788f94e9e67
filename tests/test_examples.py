"""The examples run, at tiny size, and the data sets used here have their recipes."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))


@pytest.mark.parametrize("name", ["fit_and_sample", "custom_solver"])
def test_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--steps", "2", "--out", str(tmp_path / "out")])
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    output = capsys.readouterr().out
    assert (tmp_path / "out" / "sample-3.png").exists()
    if name == "fit_and_sample":
        assert "differ by 0 grey levels" in output or "differ by 1 grey levels" in output
    else:
        assert output.count("measured, 2 declared") == 4


def test_custom_metric(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "custom_metric.py"), run_name="__main__")
    assert "keeps the contract" in capsys.readouterr().out


def test_family_plugin(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT / "examples" / "plugin", source)  # setuptools builds in place
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run(pip, check=True)
    process = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / "family_plugin.py", "--steps", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Grid(channels=1, size=(8, 8)" in process.stdout
    assert (tmp_path / "runs" / "coupling" / "sample-9.png").exists()


def test_every_data_set_has_a_recipe() -> None:
    assert {"digits", "fashion-mnist", "emoji64", "olivetti64"} <= {path.stem for path in RECIPES}
