"""`morphogen evaluate` end to end: what it writes, that it is reproducible, and what it refuses."""

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
from command_line import launch, refused
from PIL import Image
from tiny import TRAIN, shorten, tiny

import morphogen as mg
from morphogen.cli import run
from morphogen.core.modality import modality
from morphogen.core.space import Grid, TokenSequence
from morphogen.data.sources import open_source
from morphogen.evaluation.default_judge import EncodedItems
from morphogen.evaluation.evaluate import evaluate
from morphogen.evaluation.output import repeat_command
from morphogen.latents import embeddings
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.text.codec import TextCodec
from morphogen.testing.replay import replaying


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in ten classes."""
    digits, folder = open_source("digits"), tmp_path_factory.mktemp("source") / "photos"
    for index in range(300):
        path = folder / digits.columns["label"][index] / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        digits.read(index).save(path)
    return folder


@pytest.fixture(scope="module")
def fitted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of them, with the extractor that its first evaluation trains; later ones restore it."""
    out = tmp_path_factory.mktemp("fitted") / "model"
    mg.fit(photos, family="vae", condition="label", out=out, train=TRAIN, options=tiny("vae"), say=None)
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        first = evaluate(out, count=4, out=out.parent / "first", say=None)
    assert first is not None
    assert first.extractor.startswith("classifier-")
    shutil.copytree(out.parent / "first" / "evaluation", out / "evaluation")
    return out


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
    """Return the record without its duration, its command and the description of its data."""
    return {name: value for name, value in record.items() if name not in ("seconds", "command", "data")}


def saved_evaluation(folder: Path) -> dict[str, Any]:
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
    printed = capsys.readouterr().out
    evaluation = mg.Evaluation(**saved_evaluation(model))
    assert evaluation.generated == 120
    assert evaluation.real == len(json.loads((model / "split.json").read_text())["held_out"])
    assert all(map(math.isfinite, numbers(evaluation.model_dump())))
    assert {"frechet", "kernel", "coverage", "copies", "copying", "membership_distance", "bits_per_dimension"} <= {
        one.key for one in evaluation.figures
    }
    # Pictures of a model of six steps are distinguished from real ones.
    assert "A two-sample test finds a difference between generated and real items" in evaluation.summary
    frechet = evaluation.figure("frechet")
    assert frechet is not None
    assert frechet.name == f"FD[{evaluation.extractor}]"
    assert frechet.real_data is not None
    assert frechet.low is not None
    assert frechet.real_data < frechet.low
    assert evaluation.summary in printed
    page = (model / "report.html").read_text()
    assert evaluation.summary.split(".")[0] in page
    assert "data:image" in page
    card = (model / "README.md").read_text()
    assert "has not been evaluated" not in card
    assert f"| FD[{evaluation.extractor}] | {frechet.value:.4g} |" in card
    # The model itself is what it was.
    assert mg.load(model).hash == evaluation.model


def test_it_is_the_same_in_two_processes_and_with_a_saved_extractor(model: Path, tmp_path: Path) -> None:
    # Of fewer than 50 items no classifier is trained, for which the processes would take minutes.
    alone = evaluate(model, count=40, batch=16, out=tmp_path / "one", say=None)
    assert alone is not None
    extractor = (model / "evaluation" / "extractor").rename(tmp_path / "extractor")
    flags = ["-n", "40", "--batch", "16", "--extractor", str(extractor), "--out", str(tmp_path / "two")]
    launch("-m", "morphogen", "evaluate", model, *flags)
    assert figures(saved_evaluation(tmp_path / "two")) == figures(saved_evaluation(tmp_path / "one"))


@pytest.mark.usefixtures("quick")
def test_the_order_of_items_does_not_matter(model: Path, photos: Path, tmp_path: Path) -> None:
    held_out = json.loads((model / "split.json").read_text())["held_out"]
    source = open_source(str(photos))
    items = [source.read(index) for index in held_out]
    labels = [source.columns["label"][index] for index in held_out]
    records = []
    for order in (range(len(items)), np.random.default_rng(0).permutation(len(items))):
        data = ([items[at] for at in order], [labels[at] for at in order])
        evaluation = evaluate(model, data=data, count=60, out=tmp_path / "one", say=None)
        assert evaluation is not None
        records.append(figures(evaluation.model_dump()))
    assert records[0] == records[1]


def test_what_the_extractor_was_trained_on_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise with random labels can only be memorised: features of memorised pictures differ from those of new ones.

    After 50 steps they do: with the pictures that the extractor has seen, the value of real data is 2 to 4 times as
    large, and the evaluation reports that held-out items are of another distribution.
    """
    monkeypatch.setattr("morphogen.modalities.image.features._FEWEST", 50)
    monkeypatch.setattr("morphogen.modalities.image.features._PASSES", 1)
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(one) for one in random.integers(0, 256, (900, 8, 8), dtype=np.uint8)]
    spec = (pictures[:600], [str(one) for one in random.integers(0, 2, 600)])
    source = open_source(spec)
    codec = ImageCodec.fit([pictures], Grid)
    model = replaying(tmp_path / "model", source, codec, pictures[600:], list(range(0, 600, 3)))
    evaluation = evaluate(model, source=spec, out=tmp_path / "out", say=None)
    assert evaluation is not None
    assert (evaluation.real, evaluation.generated, evaluation.train) == (200, 200, 400)
    assert not any("held-out items are of another distribution" in one.reason for one in evaluation.not_measured)
    frechet = evaluation.figure("frechet")
    assert frechet is not None
    assert frechet.real_data == pytest.approx(frechet.value, rel=0.25)


@pytest.mark.usefixtures("quick")
def test_a_source_that_moved_is_named(model: Path, photos: Path, tmp_path: Path, capsys: Any) -> None:
    split = json.loads((model / "split.json").read_text())
    (model / "split.json").write_text(json.dumps(split | {"spec": "gone/away"}))
    refused(capsys, ["evaluate", str(model), "-n", "50"], "gone/away", "--source", "--data")
    assert run(["evaluate", str(model), "-n", "50", "--source", str(photos)]) == 0
    # Without it there are other items to judge by, but no values of real data and no check of copies.
    evaluation = evaluate(model, data=str(photos / "3"), count=50, out=tmp_path / "out", say=None)
    assert evaluation is not None
    assert {"values of real data", "copies of training items", "training items in the evaluation data"} <= {
        one.name for one in evaluation.not_measured
    }
    assert evaluation.train == 0


def test_a_source_that_changed_is_refused(model: Path, photos: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    Image.new("L", (8, 8)).save(copy / "3" / "one more.png")
    refused(capsys, ["evaluate", str(model), "--source", str(copy)], "not what the model was fitted to")


def test_what_cannot_be_judged(model: Path, photos: Path, tmp_path: Path, capsys: Any) -> None:
    refused(capsys, ["evaluate", str(tmp_path / "nothing")], "nothing")
    refused(capsys, ["evaluate", str(model), "--extractor", "inceptoin"], "inception-2015", "own")
    absent = str(tmp_path / "absent.pth")
    weights = ["--extractor", "inception-2015", "--extractor-weights", absent, "-n", "20"]
    refused(capsys, ["evaluate", str(model), *weights], absent)
    refused(capsys, ["evaluate", str(model), "--extractor", "minilm", "-n", "20"], "minilm", "image")
    refused(capsys, ["evaluate", str(model), "--condition", "label=3"], "condition")
    refused(capsys, ["evaluate", str(model), "--target", "label"], "--target", "pictures")
    (tmp_path / "one.txt").write_text("not a picture\n")
    refused(capsys, ["evaluate", str(model), "--data", str(tmp_path / "one.txt")], "one.txt")
    single = tmp_path / "single"
    single.mkdir()
    open_source(str(photos)).read(0).save(single / "0.png")
    refused(capsys, ["evaluate", str(model), "--data", str(single)], "1 items", "at least 2")


def test_items_that_are_all_equal(model: Path, tmp_path: Path) -> None:
    evaluation = evaluate(model, data=[Image.new("L", (8, 8), 9)] * 30, count=40, out=tmp_path / "out", say=None)
    assert evaluation is not None
    assert [one.reason for one in evaluation.not_measured if "equal" in one.reason]
    assert evaluation.figure("frechet") is None
    assert all(map(math.isfinite, numbers(evaluation.model_dump())))


def test_few_items_say_how_many_are_needed(model: Path, photos: Path, tmp_path: Path) -> None:
    source = open_source(str(photos))
    held_out = json.loads((model / "split.json").read_text())["held_out"][:4]
    evaluation = evaluate(model, data=[source.read(at) for at in held_out], count=4, out=tmp_path / "out", say=None)
    assert evaluation is not None
    why = {one.name: one.reason for one in evaluation.not_measured}
    assert "at least 6 samples" in next(reason for name, reason in why.items() if name.startswith("precision["))
    assert "at least 20 items" in why["copies"]
    assert all(map(math.isfinite, numbers(evaluation.model_dump())))


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
    options = {"width": 32, "embedding": 32}
    mg.fit(tmp_path / "people.parquet", out=tmp_path / "model", train=TRAIN, options=options, say=None)
    assert run(["evaluate", str(tmp_path / "model"), "-n", "200", "--target", "owns"]) == 0
    evaluation = mg.Evaluation(**saved_evaluation(tmp_path / "model"))
    assert {"shape", "trend", "two_sample", "tstr", "trts"} <= {one.key for one in evaluation.figures}
    assert [one.name for one in evaluation.columns] == ["age", "city", "owns"]
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
    alone = embeddings(pipeline, ["the old sea"])
    together = embeddings(pipeline, ["the old sea", "Ann saw ships far out"])
    np.testing.assert_allclose(together[0], alone[0], atol=1e-4)
    assert run(["evaluate", str(tmp_path / "model"), "-n", "40", "--max-length", "60"]) == 0
    evaluation = mg.Evaluation(**saved_evaluation(tmp_path / "model"))
    assert evaluation.extractor == "grams-256"
    assert {
        "self_bleu",
        "distinct_1",
        "copied_span",
        "bits_per_dimension",
        "perplexity",
        "property_share_of_capitals",
    } <= {one.key for one in evaluation.figures}
    again = evaluate(pipeline, count=40, extractor="model", out=tmp_path / "out", say=None, max_length=60)
    assert again is not None
    assert again.extractor == f"model-{pipeline.hash[:8]}"
    frechet = again.figure("frechet")
    assert frechet is not None
    assert frechet.name == f"FD[{again.extractor}]"


def test_an_autoencoder_judges_by_its_latents(model: Path, tmp_path: Path) -> None:
    evaluation = evaluate(model, count=40, extractor=model, out=tmp_path / "out", say=None)
    assert evaluation is not None
    assert evaluation.extractor == f"model-{mg.load(model).hash[:8]}"
    assert evaluation.figure("frechet") is not None


def test_a_modality_without_a_judge_is_judged_by_its_encoded_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(modality("image")), "judge", lambda self: None)
    digits = open_source("digits")
    pictures = [digits.read(at) for at in range(900)]
    codec = ImageCodec.fit([pictures], Grid)
    source = open_source(pictures[:600])
    for start, healthy in ((600, True), (0, False)):  # new pictures, and training pictures
        generated = pictures[start : start + 300]
        pipeline = replaying(tmp_path / str(start), source, codec, generated, list(range(1, 600, 3)))
        evaluation = evaluate(pipeline, source=pictures[:600], count=300, say=None)
        assert evaluation is not None
        assert evaluation.extractor.startswith("encoded-")
        faults = {check.name for check in evaluation.checks if check.detected and check.fault}
        assert ("copies of training items" not in faults) == healthy
    page = (tmp_path / "0" / "report.html").read_text()
    assert "Model of pictures" in page


def test_features_of_encoded_texts_do_not_depend_on_the_batch() -> None:
    texts = ["the old sea", "so the old sea has " * 200]
    codec = TextCodec.fit([texts[:1] * 20, [texts[1][:40]]], TokenSequence)
    extractor = EncodedItems(codec, "text")
    together = extractor.features(texts)
    assert codec.encode(texts).shape[1] > codec.encode(texts[:1]).shape[1]
    assert np.array_equal(together[:1], extractor.features(texts[:1]))
    assert not np.array_equal(together[0], together[1])


def test_a_model_of_one_item_is_judged_by_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(modality("image")), "judge", lambda self: None)
    digits = open_source("digits")
    pictures = [digits.read(index) for index in range(81)]
    pipeline = replaying(tmp_path, open_source(pictures[:1]), ImageCodec.fit([pictures], Grid), pictures[1:41], [])
    evaluation = evaluate(pipeline, source=pictures[:1], data=pictures[41:], count=40, say=None)
    assert evaluation is not None
    reasons = {missing.name: missing.reason for missing in evaluation.not_measured}
    assert reasons["copies of training items"] == "needs at least 2 training items; found 1"


def test_the_command_repeats_controls_of_several_values(tmp_path: Path) -> None:
    pictures = [Image.new("L", (8, 8), value) for value in (0, 9)]
    pipeline = replaying(tmp_path / "model", open_source(pictures), ImageCodec.fit([pictures], Grid), pictures, [0])
    flags = {"data": pictures, "source": tmp_path / "photos", "label": None}
    controls = {"banned": (4, 9), "logit_bias": {3: -1.5}, "steps": 7}
    assert repeat_command(pipeline, 1, 20, flags, controls) == (
        "morphogen evaluate model --seed 1 -n 20 --data DATA --source photos --banned 4 9 --logit-bias 3 -1.5 --steps 7"
    )
