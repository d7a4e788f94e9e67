"""Extractors as evaluations save, restore and choose them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from items import picture_model, rows, shades, words
from PIL import Image
from safetensors.torch import load_file, save_file

from morphogen.core.errors import UserError
from morphogen.core.extractor import Extractor
from morphogen.core.space import Row
from morphogen.evaluation.extractor import (
    check_weights_flag,
    fit_or_restore,
    open_extractor,
    restore,
    save,
    training_digest,
)
from morphogen.modalities.image.features import Cnn, Network
from morphogen.modalities.image.judge import JUDGE as IMAGE_JUDGE
from morphogen.modalities.table import features as of_rows
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.options import Options
from morphogen.modalities.text.features import Grams
from morphogen.pipeline import Pipeline


def network(seed: int = 0) -> Cnn:
    torch.manual_seed(seed)
    return Cnn(Network(1, 6, 3), 1, 6, ["a", "b", "c"])


def row_extractor() -> Extractor[Any]:
    codec = TableCodec.fit([rows()], Row, Options())
    return of_rows.fit_extractor([rows()], None, codec=codec, seed=0)


EXTRACTORS: dict[str, tuple[Callable[[], Extractor[Any]], Callable[[], Any]]] = {
    "image": (network, shades),
    "table": (row_extractor, rows),
    "text": (Grams, words),
}


@pytest.mark.parametrize("modality", EXTRACTORS)
def test_an_extractor_that_was_saved_comes_back(modality: str, tmp_path: Path) -> None:
    make, items = EXTRACTORS[modality]
    extractor = make()
    save(extractor, tmp_path / "deep" / "extractor")
    again = restore(tmp_path / "deep" / "extractor")
    assert (again.name, again.modality, again.classes) == (extractor.name, modality, extractor.classes)
    assert torch.equal(again.features(items()), extractor.features(items()))
    record = json.loads((tmp_path / "deep" / "extractor" / "extractor.json").read_text())
    assert (record["modality"], record["name"]) == (modality, extractor.name)


def without_tensors(folder: Path) -> None:
    (folder / "extractor.safetensors").unlink()


def cut(folder: Path) -> None:
    file = folder / "extractor.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def other_numbers(folder: Path) -> None:
    tensors = load_file(folder / "extractor.safetensors")
    save_file({name: value + 1 for name, value in tensors.items()}, folder / "extractor.safetensors")


def rewritten(**changes: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        record = json.loads((folder / "extractor.json").read_text())
        (folder / "extractor.json").write_text(json.dumps(record | changes))

    return write


def broken(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "extractor.json").write_text(text) and None


DAMAGED: dict[str, Callable[[Path], None]] = {
    "without its tensors": without_tensors,
    "cut": cut,
    "of other numbers": other_numbers,
    "no JSON": broken("{"),
    "a list": broken("[]"),
    "without a word": broken("{}"),
    "without a file": lambda folder: (folder / "extractor.json").unlink(),
    "without settings": rewritten(settings=None),
    "of other settings": rewritten(settings={"channels": "one"}),
    "of settings that are a list": rewritten(settings=[1]),
    "of another name": rewritten(name="classifier-00000000"),
    "of a modality that nobody knows": rewritten(modality="imgae"),
    "of another modality": rewritten(modality="text"),
}


@pytest.mark.parametrize("modality", ["image", "table"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_an_extractor_that_is_damaged_is_refused(damage: str, modality: str, tmp_path: Path) -> None:
    save(EXTRACTORS[modality][0](), tmp_path)
    DAMAGED[damage](tmp_path)
    with pytest.raises(UserError, match=r"remove the folder|damaged|is missing|did you mean 'image'|known: grams-256"):
        restore(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Pipeline:
    return picture_model(tmp_path)


def test_an_extractor_is_trained_once_and_saved(
    model: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("morphogen.modalities.image.features._FEWEST", 2)
    folder = tmp_path / "saved"

    def fitted(items: list[Image.Image], trained_on: str = "") -> Extractor[Any]:
        settings: dict[str, Any] = {"pipeline": model, "folder": folder, "codec": model.codec, "trained_on": trained_on}
        return fit_or_restore(IMAGE_JUDGE, blocks=iter([items]), labels=None, **settings)

    first = fitted(shades())
    assert fitted([]).name == first.name
    assert open_extractor(folder, None, pipeline=model).name == first.name
    other = fitted(shades(20, seed=3), trained_on="other items")
    assert other.name != first.name  # it was not trained on these
    assert training_digest(folder) == "other items"


def test_extractors_that_do_not_fit_are_refused(model: Pipeline, tmp_path: Path) -> None:
    save(Grams(), tmp_path / "texts")
    with pytest.raises(UserError, match="the extractor grams-256 reads text, and the model makes image"):
        open_extractor(tmp_path / "texts", None, pipeline=model)
    with pytest.raises(UserError, match=r"minilm reads text, and the model makes image"):
        open_extractor("minilm", None, pipeline=model)
    with pytest.raises(UserError, match=r"'inceptoin' is no extractor; expected own, .*inception-2015"):
        open_extractor("inceptoin", None, pipeline=model)
    with pytest.raises(UserError, match="--extractor-weights belongs to a pretrained extractor"):
        check_weights_flag(None, tmp_path / "weights.pth")
