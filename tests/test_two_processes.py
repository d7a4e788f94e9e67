"""Two processes that train one model end with equal weights, and with those of one process where nothing is random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from command_line import launch
from two_parts import FITS, IN_TURN, TOGETHER, weights

import morphogen
from morphogen.core import plugins


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("processes")
    launch(Path(__file__).with_name("two_parts.py"), folder)
    return folder, [json.loads((folder / f"process-{number}.json").read_text()) for number in range(2)]


def test_both_end_with_equal_weights(processes: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, (first, second) = processes
    assert first == second
    assert first["processes"] == 2
    built_in = {name for name, module in plugins.known("families").items() if module.startswith("morphogen.families.")}
    assert set(FITS) == built_in
    for family in FITS:
        assert morphogen.load(folder / family, device="cpu").hash == first[family]


@pytest.mark.parametrize(("name", "plan"), [("in turn", IN_TURN), ("together", TOGETHER)])
def test_two_processes_are_as_one(processes: tuple[Path, list[dict[str, Any]]], name: str, plan: Any) -> None:
    """The same global batches, without random numbers: equal up to the order in which gradients are summed."""
    if torch.cuda.is_available():
        pytest.skip("the two processes ran without a GPU")
    alone = weights(plan, Accelerator(cpu=True))
    for parameter, value in processes[1][0][name].items():
        torch.testing.assert_close(torch.tensor(value), torch.tensor(alone[parameter]), rtol=1e-3, atol=1e-4)


def test_the_command_line(processes: tuple[Path, list[dict[str, Any]]], flags: Any, tmp_path: Path) -> None:
    messages = launch(
        "-m", "morphogen", "fit", "digits", "--condition", "label", *flags("diffusion"), "--out", tmp_path / "out"
    )
    assert messages.count("wrote ") == 1, "only one process prints and writes"
    assert morphogen.load(tmp_path / "out", device="cpu").hash == processes[1][0]["diffusion"]
