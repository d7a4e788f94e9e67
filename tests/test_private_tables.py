"""No protected value of a table stands in what a fit, its samples and its report write."""

from __future__ import annotations

from pathlib import Path

import pytest

import morphogen
from morphogen.modalities.table.test_privacy import people, protected


def test_no_protected_value_is_in_any_file(tmp_path: Path) -> None:
    pytest.importorskip("faker")
    frame = people("de_DE", 150, seed=1)
    out = tmp_path / "model"
    pipe = morphogen.fit(frame, out=out, train={"steps": 3, "batch": 32, "previews": 1}, say=None)
    pipe.sample(30).to_csv(tmp_path / "samples.csv")
    morphogen.evaluate(pipe, count=60)
    read = [file for file in tmp_path.rglob("*") if file.is_file()]
    names = {file.name for file in read}
    assert {"report.html", "README.md", "metrics.json", "config.json", "samples.csv"} <= names
    for file in read:
        text = file.read_bytes().decode("utf-8", "replace")
        for name, values in protected(frame).items():
            leaked = [value for value in values if len(str(value)) > 6 and str(value) in text]
            assert not leaked, f"{name}: {leaked[:3]} in {file.relative_to(tmp_path)}"
