"""A model of items in memory is judged in the process that fitted it; what a user gives by mistake is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import morphogen as mg
from morphogen.core.errors import UserError

TRAIN = {"steps": 3, "batch": 32, "precision": "fp32", "previews": 0}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame({"age": random.integers(18, 80, 400), "city": random.choice(["Rome", "Oslo"], 400)})


@pytest.fixture(scope="module")
def pipeline(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> mg.Pipeline:
    out = tmp_path_factory.mktemp("memory") / "model"
    return mg.fit(frame, out=out, train=TRAIN, options={"width": 16, "embedding": 16}, say=None)


def test_the_held_out_part_is_remembered(pipeline: mg.Pipeline, frame: pd.DataFrame, tmp_path: Path) -> None:
    lines: list[str] = []
    evaluation = mg.evaluate(pipeline, quick=True, count=100, out=tmp_path, say=None)
    again = mg.evaluate(pipeline, data=frame, quick=True, count=100, out=tmp_path, say=lines.append)
    assert evaluation is not None
    assert again is not None
    assert evaluation.real == again.real < 100
    assert evaluation.train > 200
    assert "judged by the part that was held out" in lines[0]
    assert evaluation.summary == again.summary
    assert len(evaluation.summary.splitlines()) <= 5
    with pytest.raises(UserError, match="which was given in memory; give --source"):
        mg.evaluate(str(pipeline.folder), say=None)


def test_the_report_shows_real_rows_on_request_only(pipeline: mg.Pipeline, tmp_path: Path) -> None:
    pages = []
    for name in ("without", "with"):
        mg.evaluate(pipeline, quick=True, count=60, out=tmp_path / name, say=None, show_real=name == "with")
        pages.append((tmp_path / name / "report.html").read_text())
    for words in ("This report shows real rows", "Real rows, held out", "nearest to training rows"):
        assert [words in page for page in pages] == [False, True]


def test_a_batch_of_no_items_is_refused(pipeline: mg.Pipeline) -> None:
    with pytest.raises(UserError, match="--batch 0 makes no items"):
        mg.evaluate(pipeline, batch=0, say=None)


def test_training_texts_are_judged_by_their_held_out_part(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = ["the", "old", "sea", "was", "calm", "and", "Ann", "saw", "ships", "far", "out", "where", "gulls", "cried"]
    text = "\n\n".join(" ".join(random.choice(words, 40)) for _ in range(250))
    for name in ("novel.txt", "copy.txt"):
        (tmp_path / name).write_text(text)
    (tmp_path / "excerpt.txt").write_text(text[1000:-1000])
    mg.fit(tmp_path / "novel.txt", out=tmp_path / "model", train=TRAIN, options={"width": 16}, say=None)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "holds training data**: counts of up to" in card
    lines: list[str] = []
    data = tmp_path / "copy.txt"
    evaluation = mg.evaluate(
        tmp_path / "model", data=data, quick=True, count=30, out=tmp_path / "out", say=lines.append, max_length=80
    )
    assert evaluation is not None
    assert evaluation.data.startswith("the held-out part of novel.txt")
    assert "judged by the part that was held out" in lines[0]
    assert [one.answer for one in evaluation.sharing][1] == "no"
    with pytest.raises(UserError, match="items of the evaluation data are training items"):
        mg.evaluate(tmp_path / "model", data=tmp_path / "excerpt.txt", count=30, out=tmp_path / "out", say=None)
