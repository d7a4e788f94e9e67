"""Mode collapse is noticed while a model trains."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TRAIN, tiny

import morphogen as mg
from morphogen.core import plugins
from morphogen.core.model import Request
from morphogen.core.space import Grid
from morphogen.training.collapse import CollapseMonitor, variety


def test_variety_by_hand() -> None:
    real = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])  # 5, 10 and 5 apart
    assert variety(torch.tensor([[1.0, 1.0], [1.0, 3.0]]), real) == pytest.approx(2 / (20 / 3))
    assert variety(real[:1].expand(4, 2), real) == 0
    tokens = torch.tensor([[0, 1, 2, 3], [0, 1, 3, 2]])
    assert variety(tokens, torch.tensor([[0, 1, 2, 3], [9, 8, 7, 3]])) == pytest.approx(2 / 3)
    assert math.isnan(variety(real[:1], real))
    assert math.isnan(variety(real, real[:1]))
    assert math.isnan(variety(real, real[:1].expand(3, 2)))


def test_variety_of_one_distribution_is_one_and_of_half_the_spread_half() -> None:
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(300, 3, 4, 4, generator=random), torch.randn(300, 3, 4, 4, generator=random)
    assert variety(x, y) == pytest.approx(1, abs=0.02)
    assert variety(x / 2, y) == pytest.approx(0.5, abs=0.01)


def test_the_warning_comes_once_and_not_for_a_single_dip() -> None:
    monitor = CollapseMonitor()
    assert [bool(monitor.observe(value)) for value in (0.3, 0.9, math.nan, 0.4, 0.2, 0.1, 0.9, 0.1, 0.1)] == [
        *[False] * 4,
        True,
        *[False] * 4,
    ]


def warnings(family: str, out: Path) -> list[str]:
    """Fit with three previews; return the warnings."""
    messages: list[str] = []
    train = TRAIN | {"previews": 3}
    mg.fit("digits", family=family, out=out, train=train, options=tiny(family), say=messages.append)
    return [line for line in messages if "collapsing" in line]


def test_a_generator_that_collapses_causes_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = plugins.model_for("gan", Grid)
    original = model.generate

    def collapsed(self: Any, request: Request, controls: Any) -> Any:
        for partial in original(self, request, controls):
            partial.x[:] = partial.x[:1]
            yield partial

    monkeypatch.setattr(model, "generate", collapsed)
    (line,) = warnings("gan", tmp_path / "model")
    assert "in 2 previews in a row" in line
    assert "in the last one 0%" in line
    curve = json.loads((tmp_path / "model" / "metrics.json").read_text())["training"]["curves"]["variety"]
    assert [value for _, value in curve] == [0.0] * 3


@pytest.mark.parametrize("family", ["gan", "vq", "masked_diffusion"])
def test_the_variety_is_recorded(family: str, tmp_path: Path) -> None:
    warnings(family, tmp_path / "model")
    curve = json.loads((tmp_path / "model" / "metrics.json").read_text())["training"]["curves"].get("variety")
    assert curve is not None
    assert all(0 < value < 3 for _, value in curve)
