"""`morphogen evaluate` end to end: what it writes, that it is the same however it runs, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image
from test_bad_input import refused
from test_two_processes import launch
from tiny import TRAIN, tiny

import morphogen as mg
from morphogen.cli import run
from morphogen.core.space import Continuous
from morphogen.data.sources import open_source
from morphogen.evaluation.evaluate import evaluate
from morphogen.modalities.image.codec import ImageCodec
from morphogen.testing.replay import replaying


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in ten classes."""
    digits, folder = open_source("digits"), tmp_path_factory.mktemp("source") / "photos"
    for index in range(600):
        path = folder / digits.columns["label"][index] / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        digits.read(index).save(path)
    return folder


@pytest.fixture(scope="module")
def fitted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fitted") / "model"
    mg.fit(photos, family="vae", condition="label", out=out, train=TRAIN, options=tiny("vae"), say=None)
    return out


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extractors of a few steps."""
    monkeypatch.setattr("morphogen.modalities.image.features._FEWEST", 30)
    monkeypatch.setattr("morphogen.modalities.image.features._PASSES", 5)


@pytest.fixture
def model(fitted: Path, tmp_path: Path) -> Path:
    """A copy of it, with the source as near as it was: the path to that is relative."""
    copy = tmp_path / "model"
    shutil.copytree(fitted, copy)
    split = json.loads((copy / "split.json").read_text())
    split["spec"] = str((fitted / split["spec"]).resolve())
    (copy / "split.json").write_text(json.dumps(split))
    return copy


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """All that was found, but for how long it took and how it was asked for."""
    return {name: value for name, value in record.items() if name not in ("seconds", "command", "data")}


def written(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())["evaluation"]


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [one for inner in value.values() for one in numbers(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in numbers(inner)]
    return [value] if isinstance(value, float) else []


@pytest.mark.usefixtures("quick")
def test_what_is_written(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(model), "-n", "120"]) == 0
    said = capsys.readouterr().out
    found = mg.Evaluation(**written(model))
    assert found.generated == 120
    assert found.real == len(json.loads((model / "split.json").read_text())["held_out"])
    assert all(map(math.isfinite, numbers(found.model_dump())))
    assert {"frechet", "kernel", "coverage", "copies", "copying", "membership_distance", "bits_per_dimension"} <= {
        one.key for one in found.figures
    }
    # A model of six steps is told from real pictures, and gives nothing away.
    assert "Generated items can be told from real ones" in found.verdict
    frechet = found.figure("frechet")
    assert frechet is not None
    assert frechet.name == f"FD[{found.extractor}]"
    assert frechet.ceiling is not None
    assert frechet.low is not None
    assert frechet.ceiling < frechet.low
    assert found.verdict in said
    page = (model / "report.html").read_text()
    assert found.verdict.split(".")[0] in page
    assert "data:image" in page
    card = (model / "README.md").read_text()
    assert "has not been evaluated" not in card
    assert f"| FD[{found.extractor}] | {frechet.value:.4g} |" in card
    assert (model / "evaluation" / "extractor" / "extractor.safetensors").exists()
    # The model itself is what it was.
    assert mg.load(model).hash == found.model


def test_it_is_the_same_in_two_processes_and_with_the_same_extractor_elsewhere(model: Path, tmp_path: Path) -> None:
    alone = evaluate(model, count=200, batch=32, out=tmp_path / "one", say=None)
    assert alone is not None
    extractor = tmp_path / "one" / "evaluation" / "extractor"
    flags = ["-n", "200", "--batch", "32", "--extractor", str(extractor), "--out", str(tmp_path / "two")]
    launch("-m", "morphogen", "evaluate", model, *flags)
    assert figures(written(tmp_path / "two")) == figures(written(tmp_path / "one"))


@pytest.mark.usefixtures("quick")
def test_the_order_of_items_does_not_matter(model: Path, photos: Path, tmp_path: Path) -> None:
    held = json.loads((model / "split.json").read_text())["held_out"]
    source = open_source(str(photos))
    items = [source.read(index) for index in held]
    labels = [source.columns["label"][index] for index in held]
    found = []
    for order in (range(len(items)), np.random.default_rng(0).permutation(len(items))):
        data = ([items[at] for at in order], [labels[at] for at in order])
        extractor = tmp_path / "one" / "evaluation" / "extractor" if found else None
        record = evaluate(model, data=data, count=150, out=tmp_path / "one", extractor=extractor, say=None)
        assert record is not None
        found.append(figures(record.model_dump()))
    assert found[0] == found[1]


def test_what_the_extractor_was_trained_on_is_not_compared(tmp_path: Path) -> None:
    """Of noise with labels by chance all can be learned by heart, and then training pictures are told from others."""
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(one) for one in random.integers(0, 256, (900, 8, 8), dtype=np.uint8)]
    spec = (pictures[:600], [str(one) for one in random.integers(0, 2, 600)])
    source = open_source(spec)
    codec = ImageCodec.fit([pictures], Continuous)
    model = replaying(tmp_path / "model", source, codec, pictures[600:], list(range(0, 600, 3)))
    found = evaluate(model, source=spec, out=tmp_path / "out", say=None)
    assert found is not None
    assert (found.real, found.generated, found.train) == (200, 200, 400)
    assert not any("held-out items differ from training items" in one.why for one in found.not_measured)
    frechet = found.figure("frechet")
    assert frechet is not None
    assert frechet.ceiling == pytest.approx(frechet.value, rel=0.25)


@pytest.mark.usefixtures("quick")
def test_a_source_that_moved_is_named(model: Path, photos: Path, tmp_path: Path, capsys: Any) -> None:
    split = json.loads((model / "split.json").read_text())
    (model / "split.json").write_text(json.dumps(split | {"spec": "gone/away"}))
    refused(capsys, ["evaluate", str(model), "-n", "50"], "gone/away", "--source", "--data")
    assert run(["evaluate", str(model), "-n", "50", "--source", str(photos)]) == 0
    # Without it there are other items to judge by, but neither a ceiling nor a word on copies.
    found = evaluate(model, data=str(photos / "3"), count=50, out=tmp_path / "out", say=None)
    assert found is not None
    assert {"ceiling", "copies of training items", "training items in the evaluation"} <= {
        one.name for one in found.not_measured
    }
    assert found.train == 0


def test_a_source_that_changed_is_refused(model: Path, photos: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    Image.new("L", (8, 8)).save(copy / "3" / "one more.png")
    refused(capsys, ["evaluate", str(model), "--source", str(copy)], "not what the model was fitted to")


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_judged(model: Path, photos: Path, tmp_path: Path, capsys: Any) -> None:
    refused(capsys, ["evaluate", str(tmp_path / "nothing")], "nothing")
    refused(capsys, ["evaluate", str(model), "--extractor", "inceptoin"], "inception-2015", "own")
    absent = str(tmp_path / "absent.pth")
    weights = ["--extractor", "inception-2015", "--extractor-weights", absent, "-n", "20"]
    refused(capsys, ["evaluate", str(model), *weights], absent)
    refused(capsys, ["evaluate", str(model), "--extractor", "minilm", "-n", "20"], "minilm", "image")
    refused(capsys, ["evaluate", str(model), "--condition", "label=3"], "--condition")
    (tmp_path / "one.txt").write_text("not a picture\n")
    refused(capsys, ["evaluate", str(model), "--data", str(tmp_path / "one.txt")], "one.txt")
    single = tmp_path / "single"
    single.mkdir()
    open_source(str(photos)).read(0).save(single / "0.png")
    refused(capsys, ["evaluate", str(model), "--data", str(single)], "1 items", "at least 2")


@pytest.mark.usefixtures("quick")
def test_items_that_are_all_alike(model: Path, tmp_path: Path) -> None:
    found = evaluate(model, data=[Image.new("L", (8, 8), 9)] * 30, count=40, out=tmp_path / "out", say=None)
    assert found is not None
    assert [one.why for one in found.not_measured if "alike" in one.why]
    assert found.figure("frechet") is None
    assert all(map(math.isfinite, numbers(found.model_dump())))


@pytest.mark.usefixtures("quick")
def test_few_items_say_how_many_are_needed(model: Path, photos: Path, tmp_path: Path) -> None:
    source = open_source(str(photos))
    held = json.loads((model / "split.json").read_text())["held_out"][:4]
    found = evaluate(model, data=[source.read(at) for at in held], count=4, out=tmp_path / "out", say=None)
    assert found is not None
    why = {one.name: one.why for one in found.not_measured}
    assert "at least 6 samples" in why["manifold"]
    assert "at least 20 items" in why["copies"]
    assert all(map(math.isfinite, numbers(found.model_dump())))


def test_a_table_with_a_target(tmp_path: Path, capsys: Any) -> None:
    random = np.random.default_rng(0)
    age = random.integers(18, 80, 900)
    table = arrow.table(
        {
            "age": age,
            "city": random.choice(["Rome", "Oslo"], 900),
            "owns": np.where(age + random.normal(0, 9, 900) > 50, "yes", "no"),
        }
    )
    parquet.write_table(table, tmp_path / "people.parquet")
    options = {"columns": {"width": 32, "embedding": 32}}
    mg.fit(tmp_path / "people.parquet", out=tmp_path / "model", train=TRAIN, options=options, say=None)
    assert run(["evaluate", str(tmp_path / "model"), "-n", "200", "--target", "owns"]) == 0
    found = mg.Evaluation(**written(tmp_path / "model"))
    assert {"shape", "trend", "two_sample", "tstr", "trts"} <= {one.key for one in found.figures}
    assert [one.name for one in found.columns] == ["age", "city", "owns"]
    refused(capsys, ["evaluate", str(tmp_path / "model"), "--target", "own"], "own", "did you mean 'owns'")


def test_texts_by_grams_and_by_the_model_itself(tmp_path: Path, capsys: Any) -> None:
    random = np.random.default_rng(0)
    words = [
        "the",
        "old",
        "sea",
        "was",
        "calm",
        "and",
        "Ann",
        "saw",
        "ships",
        "far",
        "out",
        "where",
        "gulls",
        "cried",
        "on",
    ]
    lines = [json.dumps({"text": " ".join(random.choice(words, 12))}) for _ in range(400)]
    (tmp_path / "stories.jsonl").write_text("\n".join(lines))
    mg.fit(tmp_path / "stories.jsonl", out=tmp_path / "model", train=TRAIN, options={"width": 16}, say=None)
    pipeline = mg.load(tmp_path / "model")
    alone = pipeline.embeddings(["the old sea"])
    np.testing.assert_allclose(pipeline.embeddings(["the old sea", "Ann saw ships far out"])[0], alone[0], atol=1e-4)
    assert run(["evaluate", str(tmp_path / "model"), "-n", "40", "--max-length", "60"]) == 0
    found = mg.Evaluation(**written(tmp_path / "model"))
    assert found.extractor == "grams-256"
    assert {
        "self_bleu",
        "distinct_1",
        "copied_span",
        "bits_per_dimension",
        "perplexity",
        "property_share_of_capitals",
    } <= {one.key for one in found.figures}
    again = evaluate(pipeline, count=40, extractor="model", out=tmp_path / "out", say=None, max_length=60)
    assert again is not None
    assert again.extractor == f"model-{pipeline.hash[:8]}"
    frechet = again.figure("frechet")
    assert frechet is not None
    assert frechet.name == f"FD[{again.extractor}]"


@pytest.mark.usefixtures("quick")
def test_an_autoencoder_judges_by_its_latents(model: Path, tmp_path: Path) -> None:
    found = evaluate(model, count=60, extractor=model, out=tmp_path / "out", say=None)
    assert found is not None
    assert found.extractor == f"model-{mg.load(model).hash[:8]}"
    assert found.figure("frechet") is not None
