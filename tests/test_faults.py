"""Faults planted in a generator, each of which has to be detected; a healthy one must trip no check."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as arrow
import pyarrow.csv as arrow_csv
import pytest
from PIL import Image, ImageFilter

from morphogen.core.errors import UserError
from morphogen.core.space import Grid, Row, TokenSequence
from morphogen.data.sources import open_source
from morphogen.evaluation.evaluate import evaluate
from morphogen.evaluation.results import Evaluation
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.options import Options
from morphogen.modalities.text.codec import TextCodec
from morphogen.testing.replay import replaying


class Setting(NamedTuple):
    """Items that were trained on, held out, and neither; the source contains the first two."""

    source: str
    codec: Any
    train: Any
    held_out: Any
    fresh: Any
    indices: list[int]  # of the held out


def evaluate_items(setting: Setting, items: Any, folder: Path, **more: Any) -> Evaluation:
    source = open_source(setting.source)
    pipeline = replaying(folder, source, setting.codec, items, setting.indices, setting.source)
    evaluation = evaluate(pipeline, count=len(items), say=None, **more)
    assert evaluation is not None
    return evaluation


def detected_checks(evaluation: Evaluation) -> set[str]:
    return {check.name for check in evaluation.checks if check.detected}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    digits = open_source("digits")
    order = np.random.default_rng(0).permutation(len(digits))
    folder = tmp_path_factory.mktemp("digits")
    for index in order[500:].tolist():
        path = folder / digits.columns["label"][index] / f"{index:04d}.png"
        path.parent.mkdir(exist_ok=True)
        digits.read(index).save(path)
    source = open_source(str(folder))
    held_out = [
        at for at, name in enumerate(source.item_names()) if int(Path(name).stem) in set(order[500:800].tolist())
    ]
    train = [source.read(at) for at in range(len(source)) if at not in set(held_out)]
    codec = ImageCodec.fit([train], Grid)
    fresh = [(digits.read(index), digits.columns["label"][index]) for index in order[:500].tolist()]
    return Setting(str(folder), codec, train, [source.read(at) for at in held_out], fresh, held_out)


def brighter(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image).astype(int) + 10, 0, 255).astype(np.uint8))


def confetti(seed: int) -> Image.Image:
    """Return random pixels, which are what a model that has learned nothing makes."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8))


BLUR = ImageFilter.GaussianBlur(0.7)

PICTURES: dict[str, tuple[Callable[[list[Any], Setting], list[Any]], set[str]]] = {
    "healthy": (lambda fresh, setting: [one for one, _ in fresh], set()),
    "copies of 1 % of the training pictures": (
        lambda fresh, setting: [
            *(one for one, _ in fresh[: -len(setting.train) // 100]),
            *setting.train[: len(setting.train) // 100],
        ],
        {"copies of training items"},
    ),
    "two of ten classes missing": (
        lambda fresh, setting: [one for one, label in fresh if label not in "38"],
        {"missing classes", "missing modes"},
    ),
    "fifty pictures again": (lambda fresh, setting: [one for one, _ in fresh[:-50] + fresh[:50]], {"repeated items"}),
    "fifty pictures and no others": (
        lambda fresh, setting: [one for one, _ in (fresh[:50] * 10)],
        {"repeated items", "missing modes"},
    ),
    "blurred": (lambda fresh, setting: [one.filter(BLUR) for one, _ in fresh], {"two-sample test"}),
    "confetti": (lambda fresh, setting: [confetti(at) for at in range(len(fresh))], {"two-sample test"}),
    "brighter by ten in 255": (lambda fresh, setting: [brighter(one) for one, _ in fresh], {"two-sample test"}),
    "the held-out pictures": (lambda fresh, setting: setting.held_out, {"copies of held-out data"}),
}


@pytest.fixture(scope="module")
def judged_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: the extractor that the first test trains serves the others."""
    return tmp_path_factory.mktemp("judged")


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, pictures: Setting, judged_pictures: Path) -> None:
    make, expected = PICTURES[name]
    evaluation = evaluate_items(pictures, make(pictures.fresh, pictures), judged_pictures)
    if expected:
        assert expected <= detected_checks(evaluation), evaluation.summary
    else:
        assert not detected_checks(evaluation), evaluation.summary
        assert "No significant difference" in evaluation.summary
    assert evaluation.grade.level == ("fair" if name.startswith("brighter") else "poor" if expected else "good")
    if name == "two of ten classes missing":
        assert "3, 8" in evaluation.summary
    if name.startswith("brighter"):
        assert "brightness" in evaluation.summary


def test_training_pictures_are_refused_as_a_test(pictures: Setting, judged_pictures: Path) -> None:
    fresh = [one for one, _ in pictures.fresh]
    with pytest.raises(UserError, match=r"200 of 200 items of the evaluation data are training items"):
        evaluate_items(pictures, fresh, judged_pictures, data=pictures.train[:200])
    evaluation = evaluate_items(pictures, fresh, judged_pictures, data=pictures.train[:20] + pictures.held_out)
    assert evaluation.real == 300
    assert detected_checks(evaluation) == {"training items in the evaluation data"}
    assert "20 of 320 items of the evaluation data are training items; they were left out" in evaluation.summary


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    random = np.random.default_rng(0)
    count = 3000
    age = random.integers(18, 80, count)
    income = np.round(20 * age + random.gamma(2, 300, count), 2)
    city = np.array(["Rome", "Oslo", "Lima", "Bonn"])[(age // 20 + random.integers(0, 2, count)) % 4]
    owns = np.where(random.random(count) < income / income.max(), "yes", "no")
    height = np.round(random.normal(170, 10, count), 1)
    table = arrow.table({"age": age, "income": income, "city": city, "owns": owns, "height": height})
    file = tmp_path_factory.mktemp("rows") / "people.csv"
    arrow_csv.write_csv(table.slice(0, 2000), file)
    source = open_source(str(file))
    all_rows = source.block(np.arange(2000))
    train, held_out = all_rows.slice(0, 1500), all_rows.slice(1500)
    codec = TableCodec.fit([train], Row, Options())
    return Setting(str(file), codec, train, held_out, table.slice(2000).cast(all_rows.schema), list(range(1500, 2000)))


def permuted(table: Any, name: str) -> Any:
    at = table.column_names.index(name)
    order = np.random.default_rng(1).permutation(len(table))
    return table.set_column(at, name, table.column(name).take(order))


ROWS: dict[str, tuple[Callable[[Setting], Any], set[str]]] = {
    "healthy": (lambda setting: setting.fresh, set()),
    "one column permuted": (
        lambda setting: permuted(setting.fresh, "income"),
        {"two-sample test", "columns that differ", "dependences between columns"},
    ),
    "copies of 1 % of the training rows": (
        lambda setting: arrow.concat_tables([setting.fresh.slice(0, 985), setting.train.slice(0, 15)]),
        {"copies of training items"},
    ),
    "fifty rows and no others": (
        lambda setting: arrow.concat_tables([setting.fresh.slice(0, 50)] * 20),
        {"repeated items"},
    ),
    "the held-out rows": (lambda setting: setting.held_out, {"copies of held-out data"}),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str, rows: Setting, tmp_path: Path) -> None:
    make, expected = ROWS[name]
    evaluation = evaluate_items(rows, make(rows), tmp_path, target="owns")
    if expected:
        assert expected <= detected_checks(evaluation), evaluation.summary
    else:
        assert not detected_checks(evaluation), evaluation.summary
    if name == "one column permuted":
        worst = min(evaluation.columns, key=lambda one: (one.trend or 1) - (one.trend_real_data or 1))
        assert worst.name == "income"


def test_training_rows_are_refused_as_a_test(rows: Setting, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="300 of 300 items of the evaluation data are training items"):
        evaluate_items(rows, rows.fresh, tmp_path, data=rows.train.slice(0, 300))


WORDS = (
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
)


def stories(seed: int, count: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(20, 40))).capitalize() + "." for _ in range(count)]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    file = tmp_path_factory.mktemp("texts") / "stories.jsonl"
    items = stories(0, 900)
    file.write_text("\n".join(json.dumps({"text": one}) for one in items))
    held_out = list(range(700, 900))
    codec = TextCodec.fit([items, [one.upper() for one in items]], TokenSequence)
    return Setting(str(file), codec, items[:700], items[700:], stories(1, 300), held_out)


TEXTS: dict[str, tuple[Callable[[Setting], Sequence[str]], set[str]]] = {
    "healthy": (lambda setting: setting.fresh, set()),
    "copies of 1 % of the training texts": (
        lambda setting: setting.fresh[:293] + setting.train[:7],
        {"copies of training items"},
    ),
    "pieces of training texts": (
        lambda setting: [one[:60] + other for one, other in zip(setting.train, setting.fresh, strict=False)],
        {"long spans copied from training texts"},
    ),
    "fifty texts and no others": (lambda setting: setting.fresh[:50] * 6, {"repeated items"}),
    "the held-out texts": (lambda setting: setting.held_out, {"copies of held-out data"}),
    "in capitals": (lambda setting: [one.upper() for one in setting.fresh], {"two-sample test"}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str, texts: Setting, tmp_path: Path) -> None:
    make, expected = TEXTS[name]
    evaluation = evaluate_items(texts, make(texts), tmp_path)
    if expected:
        assert expected <= detected_checks(evaluation), evaluation.summary
    else:
        assert not detected_checks(evaluation), evaluation.summary


def test_pieces_of_training_texts_are_refused_as_a_test(texts: Setting, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="training items"):
        evaluate_items(texts, texts.fresh, tmp_path, data=[one[5:] for one in texts.train[:100]])
