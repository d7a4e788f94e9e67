"""Early stopping: the weights are those with the lowest loss on validation items."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import morphogen
from morphogen.core import plugins
from morphogen.core.model import Batch
from morphogen.core.space import Tokens
from morphogen.likelihood import bits_per_dimension
from morphogen.training import validate
from morphogen.training.loop import TrainState
from morphogen.training.options import TrainOptions


def noise(count: int, seed: int = 0) -> np.ndarray:
    """Return black and white pictures from which nothing can be learned but to memorise them."""
    return np.random.default_rng(seed).integers(0, 2, (count, 8, 8)).astype(np.uint8) * 255


def fit(items: np.ndarray, out: Path, steps: int, family: str = "autoregressive", **options: Any) -> morphogen.Pipeline:
    train = {"steps": steps, "batch": 64, "precision": "fp32", "previews": 0}
    return morphogen.fit(items, family=family, out=out, train=train, options=options, say=None)


def test_noise_is_not_memorised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit per pixel is the best there is; the last weights need a tenth more."""
    last: dict[str, torch.Tensor] = {}
    original = validate.restore_best

    def restore_best(state: TrainState) -> None:
        last.update({name: value.clone() for name, value in state.model.state_dict().items()})
        original(state)

    monkeypatch.setattr(validate, "restore_best", restore_best)
    unseen = [Image.fromarray(one) for one in noise(100, seed=1)]
    pipe = fit(noise(260), tmp_path / "best", 300, width=64, layers=2)
    assert bits_per_dimension(pipe, unseen).mean().item() == pytest.approx(1, abs=0.03)
    training = json.loads((tmp_path / "best" / "metrics.json").read_text())["training"]
    assert training["validation_loss"] == pytest.approx(math.log(2), abs=0.03)
    pipe.model.load_state_dict(last)
    assert bits_per_dimension(pipe, unseen).mean() > 1.07


def test_validation_items_are_not_trained_on(tmp_path: Path) -> None:
    """All validation items are white, which no training item is: the model does not learn white."""
    pipe = fit(noise(260), tmp_path / "model", 2, width=16, layers=1)
    split = json.loads((tmp_path / "model" / "split.json").read_text())
    assert split["train"] == pipe.metrics["training"]["items"]
    assert split["train"] + len(split["validation"]) + len(split["held_out"]) == 260
    assert not set(split["validation"]) & set(split["held_out"])
    items = noise(260)
    items[split["validation"]] = 255
    pipe = fit(items, tmp_path / "white", 60, width=32, layers=2)
    trained = min(set(range(260)) - set(split["validation"]))
    pictures = [Image.fromarray(items[index]) for index in (split["validation"][0], trained)]
    white, other = bits_per_dimension(pipe, pictures).tolist()
    assert white > 0.9
    assert other < 1.1
    assert pipe.metrics["training"]["validation_loss"] > 0.6


def test_a_few_items_are_all_trained_on(tmp_path: Path) -> None:
    pipe = fit(noise(120), tmp_path / "model", 2, width=16, layers=1)
    assert "validation_loss" not in pipe.metrics["training"]
    split = json.loads((tmp_path / "model" / "split.json").read_text())
    assert split["validation"] == []
    assert pipe.metrics["training"]["items"] == split["train"] == 120 - len(split["held_out"])


def test_a_model_without_early_stopping_spares_no_items(tmp_path: Path) -> None:
    fit(noise(260), tmp_path / "model", 2, family="diffusion", width=16)
    assert json.loads((tmp_path / "model" / "split.json").read_text())["validation"] == []


def test_the_loss_is_the_same_every_time() -> None:
    kind = plugins.model_for("autoregressive", Tokens)
    torch.manual_seed(0)
    model = kind(Tokens(5, (6,)), {}, kind.Options(width=32, layers=1, dropout=0.5, inpaint_prob=0.5))
    torch.nn.init.normal_(model.head.weight)
    state = TrainState.create(model, TrainOptions())
    x = torch.randint(0, 5, (7, 6))
    losses = {validate.validation_loss(state, [Batch(x[:4]), Batch(x[4:])], "fp32") for _ in range(3)}
    assert len(losses) == 1


def test_validation_costs_a_twentieth_of_training() -> None:
    assert validate.affordable_items(20_000) == 150  # 20 times 150 items, at a third of the cost: 1,000
    assert validate.affordable_items(1_000) == 0, "the loss of a handful of items says nothing"


def test_a_class_of_one_is_trained_on(tmp_path: Path) -> None:
    fit(noise(260), tmp_path / "model", 2, width=16, layers=1)
    validation = json.loads((tmp_path / "model" / "split.json").read_text())["validation"]
    labels = ["rare" if index == validation[0] else "ab"[index % 2] for index in range(260)]
    pipe = morphogen.fit(
        (noise(260), labels),
        family="autoregressive",
        condition="label",
        out=tmp_path / "classes",
        train={"steps": 2, "batch": 16, "precision": "fp32", "previews": 0},
        options={"width": 16, "layers": 1},
        say=None,
    )
    assert json.loads((tmp_path / "classes" / "split.json").read_text())["validation"] == validation[1:]
    assert pipe.sample(1, condition={"label": "rare"})
